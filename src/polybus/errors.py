"""Everything that polybus raises.

    PolybusError
    ├── ConfigError             what was declared or configured is wrong; says file, place, found and allowed
    │   ├── TopologyError       in polybus.toml
    │   ├── FilterError         in a filter expression; has the position
    │   ├── BindingError        in a binding, or none was found
    │   ├── NotDeclared         a service does what the topology doesn't say of it
    │   └── MissingExtra        a package that this needs isn't installed; says what to install
    ├── UnsupportedFeature      this cloud can't do what was asked; names the place in the topology
    ├── PublishFailed           some messages of a publish were not accepted; has the outcome of each
    ├── LeaseLost               the delivery is no longer this consumer's
    ├── BackendError            an operation other than publishing failed; has the fault
    ├── BatchFailed             raised by batch handlers: which messages of a batch failed, and why
    ├── AppFailed               an app or a consumer ended though nobody asked it to, or couldn't end in time
    ├── DecodeError             a body is not what the handler's annotation says
    └── BusClosed               the bus or consumer was used after it was closed

    Retry, DeadLetter           raised by handlers to settle a delivery; they are signals, not failures

A `Fault` is a value, not an exception: why one message's operation failed. Whether it is worth trying again is a
property of its kind.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from polybus.durations import Duration, seconds

if TYPE_CHECKING:
    from polybus.message import Sent

__all__ = [
    "AppFailed",
    "BackendError",
    "BatchFailed",
    "BindingError",
    "BusClosed",
    "ConfigError",
    "DeadLetter",
    "DecodeError",
    "Fault",
    "FaultKind",
    "FilterError",
    "LeaseLost",
    "MissingExtra",
    "NotDeclared",
    "PolybusError",
    "PublishFailed",
    "Retry",
    "TopologyError",
    "UnsupportedFeature",
]


class FaultKind(Enum):
    """Why an operation failed; the value is its stable name in logs, metrics and JSON."""

    THROTTLED = "throttled"  # the cloud asks to slow down
    UNAVAILABLE = "unavailable"  # the cloud, or the way to it, is down; a connection was cut
    TIMEOUT = "timeout"  # no answer in time; it may have been done
    INTERNAL = "internal"  # the cloud failed without saying why
    TOO_LARGE = "too_large"  # over a size limit
    INVALID = "invalid"  # refused for what it is
    NOT_FOUND = "not_found"  # the topic, subscription or queue is not there
    DENIED = "denied"  # authenticated, but without the right
    UNAUTHENTICATED = "unauthenticated"  # no credentials, or not accepted ones
    LEASE_LOST = "lease_lost"  # the receipt is no longer good
    STORAGE = "storage"  # the embedded store's file: full, locked, corrupt
    KEY_BLOCKED = "key_blocked"  # an earlier message of its ordering key failed
    DEADLINE = "deadline"  # retried until the publisher's deadline
    CANCELLED = "cancelled"  # the bus was closed before it was sent

    @property
    def retryable(self) -> bool:
        """Whether the same call may succeed later without anyone changing anything."""
        return self in _RETRYABLE


_RETRYABLE = frozenset({FaultKind.THROTTLED, FaultKind.UNAVAILABLE, FaultKind.TIMEOUT, FaultKind.INTERNAL})


@dataclass(frozen=True, slots=True)
class Fault:
    """Why one message's operation failed.

    `detail` says what, where and what to do next; it never holds a secret or a message's body. `code` is the cloud's
    own error code, where it gave one. `retry_after`, in seconds, is the least wait that the cloud asked for.
    """

    kind: FaultKind
    detail: str
    code: str | None = None
    retry_after: float | None = None

    @property
    def retryable(self) -> bool:
        """Whether the same call may succeed later without anyone changing anything."""
        return self.kind.retryable

    def __str__(self) -> str:
        code = f" ({self.code})" if self.code else ""
        return f"{self.kind.value}{code}: {self.detail}"


class PolybusError(Exception):
    """The root of everything that polybus raises."""


class ConfigError(PolybusError):
    """What was declared or configured is wrong."""


class TopologyError(ConfigError):
    """A declaration is wrong; `problems` lists all that were found, one line each."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class FilterError(ConfigError):
    """A filter expression is wrong; `position` counts characters from 0."""

    def __init__(self, message: str, *, text: str, position: int) -> None:
        self.text = text
        self.position = position
        super().__init__(f"{message}\n  {text}\n  {' ' * position}^")


class BindingError(ConfigError):
    """A binding is missing, unreadable, or names a backend that isn't there."""


class MissingExtra(ConfigError):
    """A package that this needs is not installed."""

    def __init__(self, what: str, extra: str, *, install: str = "") -> None:
        """Say what is missing, and the extra of polybus that brings it; `install` where none does, but this package."""
        from polybus.installed import requirement  # reads metadata, which no program without an error needs

        self.extra = extra
        super().__init__(f"{what} is not installed: pip install {install or requirement(extra)}")


class NotDeclared(ConfigError):
    """A service does what the topology doesn't say of it; the message names the place where it would."""


class UnsupportedFeature(PolybusError):
    """This cloud can't do what was asked; the message names the place in the topology and the cloud."""


class PublishFailed(PolybusError):
    """Messages were not accepted; `outcomes` has a Sent or a Fault for each, in the order they were given."""

    def __init__(self, outcomes: Sequence[Sent | Fault]) -> None:
        self.outcomes = tuple(outcomes)
        faults = self.faults
        shown = "; ".join(str(fault) for fault in faults[:3])
        more = f"; and {len(faults) - 3} more" if len(faults) > 3 else ""
        super().__init__(f"{len(faults)} of {len(self.outcomes)} not published: {shown}{more}")

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Why messages failed: the outcomes that are no Sent."""
        return tuple(outcome for outcome in self.outcomes if isinstance(outcome, Fault))


class LeaseLost(PolybusError):
    """The delivery is no longer this consumer's: its lease ended before it was settled, and it will come again."""


class BackendError(PolybusError):
    """An operation failed; `fault` says why."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        super().__init__(str(fault))


class BatchFailed(PolybusError):
    """Raised by a batch handler to say which messages failed; the others of its batch are done.

    `failed` has the error of each, by its delivery or its index in what the handler was given: any exception, as a
    handler of one message would raise it, Retry and DeadLetter included. One that names none of the batch's messages
    fails them all.
    """

    def __init__(self, failed: Mapping[Any, BaseException]) -> None:
        self.failed = dict(failed)
        shown = "; ".join(f"{type(error).__name__}: {error}" for error in list(self.failed.values())[:3])
        more = f"; and {len(self.failed) - 3} more" if len(self.failed) > 3 else ""
        super().__init__(f"{len(self.failed)} messages failed: {shown}{more}")


class AppFailed(PolybusError):
    """An app, or a consumer of it, ended though nobody asked it to, or could not end in time."""


class DecodeError(PolybusError):
    """A body is not what the handler's annotation says."""


class BusClosed(PolybusError):
    """The bus, publisher or consumer was used after it was closed."""


class Retry(Exception):
    """Raised by a handler to have the message again, after `after` or the subscription's own backoff.

    `after` is a number of seconds, 0 to 600, or the same as text ("90s") or timedelta.
    """

    after: float | None = None  # of the class: a subclass's own constructor need not call this one

    def __init__(self, reason: str = "", *, after: Duration | None = None) -> None:
        wait = None if after is None else seconds(after, "after")
        if wait is not None and not 0 <= wait <= 600:
            raise ValueError(f"after={after!r}: 0 to 600 seconds (contract, D4)")
        self.after = wait
        super().__init__(reason)


class DeadLetter(Exception):
    """Raised by a handler to put the message among the dead letters at once."""

    reason: str = ""  # of the class, as above: then the subclass's name is the reason
    description: str = ""

    def __init__(self, reason: str, description: str = "") -> None:
        self.reason = reason
        self.description = description
        super().__init__(f"{reason}: {description}" if description else reason)


def signal_in(error: BaseException) -> Retry | DeadLetter | None:
    """Return the signal that an exception is, or that an exception group comes to; None for a failure.

    In a group a DeadLetter goes before all else, since it says that another attempt is of no use. Retry beside errors
    is no signal: something failed. Of several the one that waits longest counts.
    """
    if isinstance(error, Retry | DeadLetter):
        return error
    leaves = list(leaves_of(error))
    letter = next((leaf for leaf in leaves if isinstance(leaf, DeadLetter)), None)
    retries = [leaf for leaf in leaves if isinstance(leaf, Retry)]
    if letter is not None or len(retries) < len(leaves):
        return letter
    return max(retries, key=lambda retry: -1.0 if (wait := wait_of(retry)) is None else wait)


def wait_of(retry: Retry) -> float | None:
    """Return the seconds that a Retry asks for, within 0 to 600; None where it says none, or no length of time.

    The constructor refuses what is wrong, but a subclass may go around it, and a slip there must not end the service.
    """
    after: Any = retry.after
    try:
        wait = seconds(after, "after")
    except (TypeError, ValueError):
        return None
    return float(min(max(wait, 0.0), 600.0))


def exit_in(error: BaseException) -> SystemExit | KeyboardInterrupt | None:
    """Return what an exception is, or holds as a group, that is meant to end the process."""
    return next((leaf for leaf in leaves_of(error) if isinstance(leaf, SystemExit | KeyboardInterrupt)), None)


def leaves_of(error: BaseException) -> Iterator[BaseException]:
    """Yield what an exception group holds at any depth, or the exception itself."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from leaves_of(inner)
    else:
        yield error
