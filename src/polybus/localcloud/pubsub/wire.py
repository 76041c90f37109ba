"""What every gRPC method here shares: parsing, statuses, injected failures."""

from __future__ import annotations

import logging
import sqlite3
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NoReturn, TypeAlias

import grpc
from google.protobuf import any_pb2
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]

from polybus.clock import Clock, SystemClock
from polybus.localcloud.delays import Delays
from polybus.localcloud.pubsub.protocol import Proto
from polybus.localcloud.pubsub.refusal import Refused, invalid

__all__ = ["END_OF_STREAM", "Context", "Faults", "Method", "parse", "refuse", "service"]

_log = logging.getLogger(__name__)

# What a context reads once the client is done; grpc-stubs has no name for it.
END_OF_STREAM: object = grpc.aio.EOF  # type: ignore[attr-defined]

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Handler: TypeAlias = Callable[[Any, Context], Awaitable[Any]]
Stream: TypeAlias = Callable[[bytes, Context], Awaitable[None]]
Method: TypeAlias = tuple[Proto, Handler]


class Faults:
    """Failures that a test asked for, by method; `methods` are those that there are."""

    def __init__(self) -> None:
        self.methods: set[str] = set()
        self.clock: Clock = SystemClock()
        self.delays = Delays()
        self._planned: dict[str, deque[tuple[grpc.StatusCode, str]]] = {}
        self._late: dict[str, deque[grpc.StatusCode]] = {}

    def plan(self, method: str, code: grpc.StatusCode, count: int, detail: str) -> None:
        """Have the next `count` calls of a method, `Publish` or `google.pubsub.v1.Publisher/Publish`, fail."""
        name = method.rpartition("/")[2]
        if name not in self.methods:
            raise ValueError(f"{method}: no such method; there are {', '.join(sorted(self.methods))}")
        self._planned.setdefault(name, deque()).extend([(code, detail)] * count)

    def plan_after(self, method: str, code: grpc.StatusCode, count: int) -> None:
        """Have the next `count` calls of a unary method, by its own name, do what they do and then fail."""
        self._late.setdefault(method, deque()).extend([code] * count)

    def clear(self) -> None:
        """Forget what was to fail or to wait, and hasn't."""
        self._planned.clear()
        self._late.clear()
        self.delays.clear()

    def check_after(self, method: str) -> None:
        """Refuse the answer of a call where that is planned."""
        planned = self._late.get(method) if self._late else None
        if planned:
            raise Refused(planned.popleft(), f"{method} fails after it was done because the test asked for it.")

    async def hold(self, method: str) -> None:
        """Wait where a call of this method is to."""
        if self.delays.planned:
            await self.delays.hold(method, self.clock)

    def check(self, method: str) -> None:
        """Refuse the call where a failure is planned for it."""
        planned = self._planned.get(method)
        if planned:
            code, detail = planned.popleft()
            raise Refused(code, detail or f"{method} fails because the test asked for it.")


def parse(kind: Proto, raw: bytes) -> Proto:
    """Return the message that `raw` holds; refuse what isn't one."""
    try:
        return kind.FromString(raw)
    except DecodeError as error:
        raise invalid(f"Request is not a well-formed {kind.DESCRIPTOR.full_name}: {error}") from error


async def refuse(context: Context, refused: Refused) -> NoReturn:
    """End the call with its status, and the reasons of single ack ids where it has some."""
    metadata: tuple[tuple[str, bytes], ...] = ()
    if refused.ack_failures:
        reasons = any_pb2.Any()
        reasons.Pack(error_details_pb2.ErrorInfo(domain="pubsub.googleapis.com", metadata=refused.ack_failures))
        status = status_pb2.Status(code=refused.code.value[0], message=refused.detail, details=[reasons])
        metadata = (("grpc-status-details-bin", status.SerializeToString()),)
    await context.abort(refused.code, refused.detail, metadata)
    raise AssertionError("abort always raises")


def _serialize(reply: Any) -> bytes:
    return reply if type(reply) is bytes else reply.SerializeToString()


def _unary(faults: Faults, name: str, kind: Proto, handler: Handler) -> grpc.RpcMethodHandler[Any, Any]:
    async def call(raw: bytes, context: Context) -> Any:
        try:
            await faults.hold(name)
            faults.check(name)
            answer = await handler(parse(kind, raw), context)
            faults.check_after(name)
            return answer
        except Refused as refused:
            await refuse(context, refused)
        except sqlite3.Error as error:
            _log.exception("%s: the store could not write", name)
            await refuse(context, Refused(grpc.StatusCode.INTERNAL, f"The store could not write: {error}"))

    return grpc.unary_unary_rpc_method_handler(call, response_serializer=_serialize)


def service(
    faults: Faults,
    name: str,
    methods: Mapping[str, Method],
    streams: Mapping[str, Stream] | None = None,
) -> grpc.GenericRpcHandler[Any, Any]:
    """Return the handlers of a service: unary methods by name, and streams, which get their first request as bytes."""
    faults.methods.update(methods, streams or {})
    handlers = {method: _unary(faults, method, kind, handler) for method, (kind, handler) in methods.items()}
    for method, stream in (streams or {}).items():
        handlers[method] = _stream(faults, method, stream)
    return grpc.method_handlers_generic_handler(name, handlers)


def _stream(faults: Faults, name: str, handler: Stream) -> grpc.RpcMethodHandler[Any, Any]:
    async def call(_requests: object, context: Context) -> None:
        try:
            # Before any answer: a client that is cut off while it still sends sees an error of its own making.
            first = await context.read()
            await faults.hold(name)
            faults.check(name)
            if first is END_OF_STREAM:
                raise invalid("The stream was closed before its initial request.")
            await handler(first, context)
        except Refused as refused:
            await refuse(context, refused)

    return grpc.stream_stream_rpc_method_handler(call)
