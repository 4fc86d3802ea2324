"""The envelope of an OTLP/JSON request, walked so that whatever is wrong in it costs no more than what it is in."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

import orjson

from ..errors import Undecodable
from ..model import Resource, Scope
from .gathering import Gathering
from .json_fields import Proto, TooDeep, flatten, read_resource, read_scope, short
from .json_text import parse

_PATHS: Final = {
    "resourceSpans": "/v1/traces",
    "resourceLogs": "/v1/logs",
    "resourceMetrics": "/v1/metrics",
    "resourceProfiles": "/v1development/profiles",
}
# The names that protobuf's definitions have, which are none in OTLP/JSON.
_SNAKE: Final = {
    "resourceSpans": "resource_spans",
    "scopeSpans": "scope_spans",
    "resourceLogs": "resource_logs",
    "scopeLogs": "scope_logs",
    "logRecords": "log_records",
}


@dataclass(frozen=True, slots=True)
class Shape:
    """What the parts of a request are called."""

    groups: str
    scopes: str
    records: str


T = TypeVar("T")
# Takes a record, its resource and its scope; raises `Undecodable` for a bad one.
Read = Callable[[Proto, Resource, Scope], None]


def walk(data: bytes, shape: Shape, gathering: Gathering, read: Read) -> None:
    """Call `read` with every span or log record; whatever is wrong with one becomes a reject.

    Raises:
        Undecodable: not JSON, of another signal, or without any record while something is wrong.
    """
    document, gathering.repaired = parse(data)
    if not isinstance(document, dict):
        raise Undecodable(f'the body must be a JSON object with "{shape.groups}"')
    for key, path in _PATHS.items():
        if key in document and shape.groups not in document:
            raise Undecodable(f"a request with {key} belongs to {path}, this is {_PATHS[shape.groups]}")
    walking = _Walk(shape, gathering, read)
    walking.request(document)
    if gathering.rejects and not walking.found:
        raise Undecodable(gathering.rejects[0].reason)


class _Walk:
    """One request, from the outside to the inside. `found` counts the records that are there, good or bad."""

    def __init__(self, shape: Shape, gathering: Gathering, read: Read) -> None:
        self.found = 0
        self._shape = shape
        self._gathering = gathering
        self._read = read

    def request(self, document: Proto) -> None:
        def whole(group: Any) -> Proto:
            return {self._shape.groups: [group]}

        for group in self._objects(document, self._shape.groups, whole):
            self._resource(group, whole)

    def _resource(self, group: Proto, whole: Callable[[Any], Proto]) -> None:
        def of_resource(scope: Any) -> Proto:
            return whole({**group, self._shape.scopes: [scope]})

        # What a group without records says of itself is of no interest (specification: it may be ignored).
        count = sum(map(self._size, _items(group, self._shape.scopes)))
        resource = self._header(group, read_resource, whole, count) if count else None
        if count and resource is None:
            return
        for scope in self._objects(group, self._shape.scopes, of_resource):
            self._scope(scope, resource, of_resource)

    def _scope(self, group: Proto, resource: Resource | None, whole: Callable[[Any], Proto]) -> None:
        def of_scope(record: Any) -> Proto:
            return whole({**group, self._shape.records: [record]})

        count = self._size(group)
        scope = self._header(group, read_scope, whole, count) if count else None
        if count and scope is None:
            return
        for record in self._objects(group, self._shape.records, of_scope):
            if resource is not None and scope is not None:
                self._record(record, resource, scope, of_scope)

    def _record(self, record: Proto, resource: Resource, scope: Scope, whole: Callable[[Any], Proto]) -> None:
        self.found += 1
        try:
            self._mended(record, lambda proto: self._read(proto, resource, scope))
        except Undecodable as exc:
            self._reject(str(exc), partial(whole, record))

    def _header(self, group: Proto, read: Callable[[Proto], T], whole: Callable[[Any], Proto], count: int) -> T | None:
        """Resource or scope of a group; without it all in the group is rejected."""
        try:
            return self._mended(group, read)
        except Undecodable as exc:
            self.found += count
            self._reject(f"not readable, with all {self._shape.records} of it: {exc}", partial(whole, group), count)
            return None

    def _mended(self, proto: Proto, read: Callable[[Proto], T]) -> T:
        try:
            return read(proto)
        except TooDeep:
            replaced = flatten(proto)
        result = read(proto)
        self._gathering.repaired += replaced
        return result

    def _objects(self, holder: Proto, field: str, whole: Callable[[Any], Proto]) -> Iterator[Proto]:
        """The objects of a list; what is none is rejected."""
        said = holder.get(field)
        if said is None and (other := _SNAKE.get(field)) in holder:
            # The specification says to ignore it; that nothing arrived should not stay a secret.
            self._gathering.remark = f"{other} is not read: OTLP/JSON names it {field}"
        if said is not None and not isinstance(said, list):
            self._reject(f"{field} must be an array, not {short(said)}", partial(whole, said))
        for item in _items(holder, field):
            if isinstance(item, dict):
                yield item
            else:
                self._reject(f"{field} must hold objects, not {short(item)}", partial(whole, item))

    def _size(self, scope: Any) -> int:
        """How many records a group by scope has."""
        return len(_items(scope, self._shape.records))

    def _reject(self, reason: str, document: Callable[[], Proto], count: int = 1) -> None:
        self._gathering.reject(reason, lambda: _written(document()), "json", count)


def _items(holder: Any, field: str) -> list[Any]:
    said = holder.get(field) if isinstance(holder, dict) else None
    return said if isinstance(said, list) else []


def _written(document: Proto) -> bytes:
    """What was refused, for a person to read."""
    try:
        return orjson.dumps(document)
    except TypeError:  # nested more deeply than the fast writer takes
        try:
            return json.dumps(document).encode()
        except RecursionError:
            return b'"nested too deeply to be written"'
