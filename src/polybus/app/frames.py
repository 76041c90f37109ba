"""What a service and its handlers' processes tell each other: MessagePack, each frame after its length."""

from __future__ import annotations

import struct

import msgspec

__all__ = [
    "HEAD",
    "Begun",
    "Done",
    "Failed",
    "FromChild",
    "Job",
    "Log",
    "Ready",
    "Setup",
    "ToChild",
    "TooLate",
    "decoder",
    "encode",
]

HEAD = struct.Struct(">I")


class Setup(msgspec.Struct, frozen=True, tag=True):
    """The first frame: what to import, and what to log. `file` is set where the module is the program itself."""

    module: str
    file: str | None
    name: str
    level: int
    levels: dict[str, int]


class Job(msgspec.Struct, frozen=True, tag=True):
    """A delivery to handle. `until` is when its lease ends, by `machine_time`."""

    body: bytes
    attributes: dict[str, str]
    ordering_key: str | None
    id: str
    published_at: float | None
    content_type: str | None
    source: str
    attempt: int
    redelivered: bool
    until: float


class Ready(msgspec.Struct, frozen=True, tag=True):
    """The handler is imported; `refused` says why it isn't."""

    refused: str | None = None


class Begun(msgspec.Struct, frozen=True, tag=True):
    """The job is taken: from here on it is an attempt."""


class Done(msgspec.Struct, frozen=True, tag=True):
    """The handler returned."""


class TooLate(msgspec.Struct, frozen=True, tag=True):
    """The lease was over before the handler's first line: it has not begun."""


class Failed(msgspec.Struct, frozen=True, tag=True):
    """The handler raised.

    `kind` is "retry", "dead letter", "undecodable", "exit", "interrupt" or "error". `name` is the exception's class, or
    a dead letter's reason, `module` where that is; `text` what it says; `code` an exit's.
    """

    kind: str
    name: str
    text: str
    module: str = ""
    trace: str = ""
    after: float | None = None
    code: int | str | None = None


class Log(msgspec.Struct, frozen=True, tag=True):
    """A log record, formatted but for its place and time."""

    name: str
    level: int
    text: str
    created: float
    path: str
    line: int
    function: str
    thread: str
    trace: str | None


ToChild = Setup | Job
FromChild = Ready | Begun | Done | TooLate | Failed | Log

_encoder = msgspec.msgpack.Encoder()


def encode(frame: ToChild | FromChild) -> bytes:
    """Return a frame as it is sent."""
    data = _encoder.encode(frame)
    return HEAD.pack(len(data)) + data


def decoder(kind: object) -> msgspec.msgpack.Decoder[object]:
    """Return what reads frames of a kind, without their length."""
    return msgspec.msgpack.Decoder(kind)
