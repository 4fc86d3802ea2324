"""Every error the product raises on purpose.

```
EvalVaultError               try again?
├── InvalidInput             no   what came in can never be accepted (bad bytes, bad parameter)
│   ├── Undecodable          no   the bytes are not what they claim to be
│   ├── TooLarge             no   over a size limit
│   └── InvalidStageEvent    no   a StageEvent lacks something or contradicts itself
├── NotFound                 no   no such run or trace
├── SettingsError            no   the configuration is wrong
├── MissingExtra             no   an optional package is needed: the message names the command
├── Unauthenticated          no   no API key, or a wrong one
├── Forbidden                no   an API key without the scope that is needed
├── WorkerFailed             no   one of several server processes did not start: the message says why
└── Unavailable              yes  storage away, queue full, shutting down
    ├── Overloaded           yes  the queue's bound is reached
    ├── RateLimited          yes  this API key sends more than it may
    └── TooManyReaders       yes  the live stream has as many readers as it may have
```
"""


class EvalVaultError(Exception):
    """Base of all errors raised on purpose; `retryable` answers "try again?"."""

    retryable = False


class InvalidInput(EvalVaultError):
    """What came in can never be accepted as it is."""


class Undecodable(InvalidInput):
    """The bytes are not what their content type says."""


class TooLarge(InvalidInput):
    """The payload is over a size limit, as received or after decompression."""


class InvalidStageEvent(InvalidInput):
    """A StageEvent that cannot be one. `index` is its place among those that came with it, from 0.

    `kind` is the class of the error, in EvalVault's words: `missing_run_id`, `invalid_stage_type`, `other`, ….
    """

    def __init__(self, message: str, index: int, kind: str = "other") -> None:
        super().__init__(message)
        self.index = index
        self.kind = kind


class NotFound(EvalVaultError):
    """No such run, trace or asset."""


class SettingsError(EvalVaultError):
    """A setting has a value that cannot work."""


class MissingExtra(EvalVaultError):
    """An optional package is not installed."""


class Unauthenticated(EvalVaultError):
    """No API key, or one that is not known. The message names the header, never the key."""


class Forbidden(EvalVaultError):
    """The API key is known and may not do this."""


class WorkerFailed(EvalVaultError):
    """One of several server processes ended before it was ready."""


class Unavailable(EvalVaultError):
    """Storage cannot be reached, or the server is shutting down. Nothing was stored; the same call may work later."""

    retryable = True


class Overloaded(Unavailable):
    """The bounded queue in front of storage is full."""


class RateLimited(Unavailable):
    """This API key sends more than it may; a little later it may again."""


class TooManyReaders(Unavailable):
    """The live stream has as many readers as it may have; when one leaves there is a place."""
