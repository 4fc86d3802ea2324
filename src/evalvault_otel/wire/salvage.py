"""A protobuf request that the parser refuses: repaired where that is possible, otherwise kept in parts.

The parser gives up a whole request for one text that is not UTF-8, or for one value that is nested too deeply. Here the
envelope is walked by hand and every record is parsed on its own; only what still cannot be parsed is rejected. In texts
U+FFFD replaces bad bytes; a text that says so replaces a value nested too deeply. The work is linear in the size.

Source: trace_service.proto and logs_service.proto; their envelopes have the same field numbers.
"""

from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from ..errors import Undecodable
from ..values import TOO_DEEP
from .fields import LENGTH, Broken, fields, with_length
from .gathering import Gathering
from .identity import WRONG_SIGNAL

# In the envelope: a request has groups by resource, these have groups by scope, these have the records.
GROUPS: Final = 1
MEMBERS: Final = 2
_RECORD: Final = {"traces": "span", "logs": "log record"}

# The parser's own bound of messages in messages, and how many more an array or a map brings.
_MAX_DEPTH: Final = 100
_DEEPER: Final = {"array_value": 2, "kvlist_value": 3}
_TOO_DEEP_VALUE: Final = AnyValue(string_value=TOO_DEEP).SerializeToString()
# Fields to look at, of the envelope and of damaged records: one or two seconds of work each.
_MAX_STEPS: Final = 1_000_000


class TooDamaged(Exception):
    """Repairing more of this request would take too long."""


def salvage(data: bytes, envelope: type[Message], gathering: Gathering) -> Any:
    """What can be read of an export request; what cannot is noted in `gathering`.

    Raises:
        Undecodable: there is not one whole span or log record in it, good or bad.
    """
    reading = _Salvage(data, gathering)
    request = reading.read(envelope)
    if not reading.found:
        raise Undecodable(f"not an OTLP {envelope.DESCRIPTOR.name}")
    return request


class _Salvage:
    """One request, from the outside to the inside. `found` counts the records that are there, good or bad."""

    def __init__(self, data: bytes, gathering: Gathering) -> None:
        self.found = 0
        self._data = data
        self._gathering = gathering
        self._repair = _Repair()
        self._noun = _RECORD[gathering.signal]
        self._steps = 0

    def read(self, envelope: type[Message]) -> Any:
        request = envelope()
        groups = _repeated(request, GROUPS)
        for start, end, _ in self._members(0, len(self._data), GROUPS):
            self._resource(groups, start, end)
        self._gathering.repaired += self._repair.repaired
        return request

    def _resource(self, groups: Any, start: int, end: int) -> None:
        group = groups.add()
        if self._header(group, start, end):
            scopes = _repeated(group, MEMBERS)
            for at, stop, _ in self._members(start, end):
                self._scope(scopes, at, stop)
        else:
            count = sum(self._size(at, stop) for at, stop, _ in self._members(start, end))
            self._lost(f"the resource of these {self._noun}s", start, end, count)

    def _scope(self, groups: Any, start: int, end: int) -> None:
        group = groups.add()
        if self._header(group, start, end):
            records = _repeated(group, MEMBERS)
            for at, stop, cut in self._members(start, end):
                if cut:
                    self._reject(f"the {self._noun} is cut short", at, stop)
                else:
                    self._record(records, at, stop)
        else:
            self._lost(f"the scope of these {self._noun}s", start, end, self._size(start, end))

    def _record(self, records: Any, start: int, end: int) -> None:
        self.found += 1
        problem = self._parse(records.add(), self._data[start:end])
        if problem:
            del records[-1]
            self._reject(f"the {self._noun} {problem}", start, end)

    def _header(self, group: Any, start: int, end: int) -> bool:
        """Read all of a group but its members: resource or scope, and the schema."""
        parts: list[bytes] = []
        # What comes after a break is noted when the members are read.
        with suppress(Broken):
            parts.extend(
                self._data[at:stop] for number, _, at, _, stop, _ in fields(self._data, start, end) if number != MEMBERS
            )
        return not self._parse(group, b"".join(parts))

    def _parse(self, message: Any, data: bytes) -> str:
        """Fill a message, repairing the bytes if need be; why it cannot be, or nothing."""
        try:
            message.ParseFromString(data)
        except DecodeError:
            repaired = self._repair.repaired
            try:
                message.ParseFromString(self._repair.message(data, message.DESCRIPTOR))
            except (Broken, DecodeError):
                self._repair.repaired = repaired
                return f"cannot be read: its protobuf is broken{WRONG_SIGNAL[self._gathering.signal]}"
            except TooDamaged:
                self._repair.repaired = repaired
                return "is damaged, like too many others of this request to repair it"
        return ""

    def _members(self, start: int, end: int, wanted: int = MEMBERS) -> Iterator[tuple[int, int, bool]]:
        """Where the members of a group start and end, and whether they are cut; what is no field is rejected."""
        try:
            for number, wire_type, at, content, stop, cut in fields(self._data, start, end):
                self._steps += 1
                if self._steps > _MAX_STEPS:
                    self._reject(f"the request has more {self._noun}s than can be read", at, end)
                    return
                if number == wanted and wire_type == LENGTH:
                    yield content, stop, cut
        except Broken as exc:
            self._reject("what follows cannot be read: its protobuf is broken", exc.at, end)

    def _size(self, start: int, end: int) -> int:
        """How many members a group has."""
        return sum(1 for _ in self._members(start, end))

    def _lost(self, what: str, start: int, end: int, count: int) -> None:
        self.found += count
        if count:
            self._reject(f"{what} cannot be read: its protobuf is broken", start, end, count)

    def _reject(self, reason: str, start: int, end: int, count: int = 1) -> None:
        self._gathering.reject(reason, lambda: self._data[start:end], "bytes", count)


def _repeated(message: Any, number: int) -> Any:
    return getattr(message, message.DESCRIPTOR.fields_by_number[number].name)


class _TooDeep(Exception):
    """A value that the parser would find nested too deeply."""


class _Repair:
    """Writes damaged messages anew. `repaired` counts the texts and values that were replaced."""

    def __init__(self) -> None:
        self.repaired = 0
        self._steps = 0

    def message(self, data: bytes, kind: Descriptor) -> bytes:
        """The bytes of a message of this kind without damage that can be repaired.

        Raises:
            Broken: the bytes are no fields.
            TooDamaged: enough has been repaired.
        """
        changed = self._changed(data, 0, len(data), kind, 0)
        return data if changed is None else changed

    def _changed(self, data: bytes, start: int, end: int, kind: Descriptor, depth: int) -> bytes | None:
        """A message written anew, or None if nothing in it has to be."""
        parts: list[bytes] = []
        kept = start
        damageable = _damageable(kind)
        for number, wire_type, at, first, stop, cut in fields(data, start, end):
            self._step()
            if cut:
                raise Broken(at)
            known = damageable.get(number)
            if known is None or wire_type != LENGTH or first == stop or (not depth and _sound(data[at:stop], kind)):
                continue
            content = self._content(data, first, stop, known, depth + 1)
            if content is not None:
                parts += (data[kept:at], with_length(number, content))
                kept = stop
        if not parts:
            return None
        parts.append(data[kept:end])
        return b"".join(parts)

    def _content(self, data: bytes, start: int, end: int, known: FieldDescriptor, depth: int) -> bytes | None:
        if known.message_type is None:
            return self._text(data[start:end])
        if depth - 1 + _DEEPER.get(known.name, 0) > _MAX_DEPTH:
            raise _TooDeep
        try:
            return self._changed(data, start, end, known.message_type, depth)
        except _TooDeep:
            if known.message_type is not AnyValue.DESCRIPTOR:
                raise
        self.repaired += 1
        return _TOO_DEEP_VALUE

    def _text(self, content: bytes) -> bytes | None:
        try:
            content.decode()
        except UnicodeDecodeError:
            self.repaired += 1
            return content.decode(errors="replace").encode()
        return None

    def _step(self) -> None:
        self._steps += 1
        if self._steps > _MAX_STEPS:
            raise TooDamaged


def _sound(field: bytes, kind: Descriptor) -> bool:
    """Whether the parser takes this field as one of a message."""
    try:
        GetMessageClass(kind).FromString(field)
    except DecodeError:
        return False
    return True


@cache
def _damageable(kind: Descriptor) -> dict[int, FieldDescriptor]:
    """The fields of a message in which repairable damage can be: texts and messages."""
    kinds = (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_MESSAGE)
    return {field.number: field for field in kind.fields if field.type in kinds}
