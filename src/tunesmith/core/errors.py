"""The exception tree.

    TunesmithError                      exit code
    ├── UsageError                      2    what was typed or written cannot be right
    │   └── ConfigError                 2    ... in the project file; names the key
    ├── GateFailed                      3    a gate said fail
    ├── NotAllowed                      1    this user may not do this
    ├── SignatureError                  1    it is not what was signed, or cannot be signed
    ├── NotFound                        4    no such thing here
    ├── Conflict                        5    somebody else holds it, or it changed meanwhile
    │   └── StoreLocked                 5
    ├── DataError                       1    the data cannot be used
    │   ├── PackageError                1    a package that cannot be fetched or trusted
    │   ├── OtherKind                   1    a model of another kind than is asked for
    │   └── TooFewRows                  1    a dataset with too few rows for what is asked
    ├── StoreError                      1    the store cannot be used as it is
    │   ├── BlobMissing                 1
    │   ├── BlobCorrupt                 1
    │   ├── StepStoreError              1    ... by one step; others may do without
    │   ├── StoreFull                   1
    │   └── StoreTooNew                 1
    ├── InputChanged                    1    a step's input changed while it ran
    ├── StepFailed                      1    a step failed in another process
    │   └── WorkerKilled                1    ... which something killed; the step did nothing wrong
    ├── RunFailed                       *    steps of a run failed; the code is the first one's
    ├── Stopped                         1    somebody stopped a run, which can go on later
    │   ├── OverBudget                  1    ... because of what it costs
    │   └── NotBegun                    1    ... before its turn had come
    └── MissingExtra                    1    an optional dependency is not installed

A message says what happened and where; `remedy` says what to do next.
"""

from __future__ import annotations


class TunesmithError(Exception):
    """Base of every error that a user can do something about."""

    exit_code = 1

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.step = ""
        """The step that it counts as the failure of, where that itself went through."""

    def __str__(self) -> str:
        return f"{self.message}\n  -> {self.remedy}" if self.remedy else self.message


class UsageError(TunesmithError):
    """What was typed or written cannot be right."""

    exit_code = 2


class ConfigError(UsageError):
    """A value in the project file is wrong; `key` is its dotted path."""

    def __init__(self, key: str, message: str, *, remedy: str = "") -> None:
        super().__init__(f"{key}: {message}", remedy=remedy)
        self.key = key


class GateFailed(TunesmithError):
    """A gate's verdict is not pass."""

    exit_code = 3


class NotAllowed(TunesmithError):
    """The user who asks may not do this."""


class SignatureError(TunesmithError):
    """Something is not what was signed, or not signed, or cannot be signed with that key."""


class NotFound(TunesmithError):
    """There is no such thing in this project."""

    exit_code = 4


class Conflict(TunesmithError):
    """Somebody else holds it, or it changed meanwhile."""

    exit_code = 5


class StoreLocked(Conflict):
    """Another process holds the store or the step."""


class DataError(TunesmithError):
    """The data cannot be used as it is."""


class PackageError(DataError):
    """A package cannot be fetched, or is not what was pinned."""


class OtherKind(DataError):
    """The model is of another kind than those that are asked this."""


class TooFewRows(DataError):
    """The dataset has too few rows that a model could be asked."""


class StoreError(TunesmithError):
    """The store cannot be used as it is."""


class StepStoreError(StoreError):
    """What one step needs of the store, or made for it, cannot be used; others do without."""


class BlobMissing(StoreError):
    """A blob that a record refers to is not there."""


class BlobCorrupt(StoreError):
    """A blob's bytes are not the bytes that its digest promises."""


class StoreFull(StoreError):
    """No space left; nothing was half-written."""


class StoreTooNew(StoreError):
    """The store was written by a newer version."""


class InputChanged(TunesmithError):
    """A step's input was edited while the step ran, so its result belongs to no input."""


class StepFailed(TunesmithError):
    """A step failed in a worker process; the message is the worker's."""


class WorkerKilled(StepFailed):
    """A worker process was killed: by the system, for want of memory, or by somebody."""


class RunFailed(TunesmithError):
    """Steps of a run failed, and what does not need them is made; the code is the first one's."""

    def __init__(self, message: str, *, first: BaseException) -> None:
        super().__init__(
            message,
            remedy="put right what failed, and run the same command again: what was made is kept",
        )
        self.first = first
        self.exit_code = getattr(first, "exit_code", 1)


class Stopped(TunesmithError):
    """A run was stopped as somebody asked; what it had done is kept, and it can go on."""


class OverBudget(Stopped):
    """A run would cost, or has cost, more than it may; what it had done is kept."""


class NotBegun(Stopped):
    """A step's turn never came: another one had failed, or somebody stopped the run."""


class MissingExtra(TunesmithError):
    """An optional dependency is needed and is not installed."""

    def __init__(self, module: str, extra: str) -> None:
        super().__init__(
            f"{module} is needed here and is not installed",
            remedy=f"pip install 'tunesmith[{extra}]'",
        )
