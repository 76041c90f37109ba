"""What a topic refuses as a whole is asked once, and what it refuses of one message fails that one (contract, P2)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from google.protobuf import any_pb2
from google.pubsub_v1 import types
from google.rpc import error_details_pb2, status_pb2

import polybus
from polybus.binding import Binding, Entity, Kind
from polybus.errors import Fault, FaultKind

TOPIC = "projects/p/topics/orders"
KEY = "projects/p/locations/l/keyRings/r/cryptoKeys/k/cryptoKeyVersions/1"
SAID = "what the test's server says"


class Refusing:
    """A server that refuses each Publish for which `refuses` returns a detail, with the code and that; counts calls."""

    def __init__(self, code: grpc.StatusCode, refuses: Callable[[list[bytes]], Any]) -> None:
        self.calls = 0
        self._code = code
        self._refuses = refuses

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[polybus.Bus]:
        server = grpc.aio.server()
        methods = {"Publish": grpc.unary_unary_rpc_method_handler(self._publish)}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("google.pubsub.v1.Publisher", methods),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        orders = Entity(kind=Kind.TOPIC, name="orders", address=TOPIC)
        binding = Binding(backend="gcp", bus="b", settings={"endpoint": f"127.0.0.1:{port}"}, topics={"orders": orders})
        try:
            async with polybus.connect(binding) as bus:
                yield bus
        finally:
            await server.stop(None)

    async def _publish(self, request: bytes, context: Any) -> bytes:
        self.calls += 1
        messages = types.PublishRequest.pb().FromString(request).messages
        detail = self._refuses([message.data for message in messages])
        if detail is None:
            ids = [str(place) for place in range(len(messages))]
            return bytes(types.PublishResponse.pb()(message_ids=ids).SerializeToString())
        packed = any_pb2.Any()
        packed.Pack(detail)
        status = status_pb2.Status(code=self._code.value[0], message=SAID, details=[packed])
        context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
        await context.abort(self._code, SAID)
        raise AssertionError("not reached")


async def publish(bus: polybus.Bus) -> list[Any]:
    return await bus.publish_many("orders", [b"%d" % number for number in range(100)], outcomes=True)


@pytest.mark.parametrize("state", ["KEY_DISABLED", "KEY_DESTROYED"])
async def test_a_topic_whose_key_is_gone_refuses_a_batch_once_for_all(state: str) -> None:
    violation = error_details_pb2.PreconditionFailure.Violation(type=state, subject=KEY)
    refusal = error_details_pb2.PreconditionFailure(violations=[violation])
    server = Refusing(grpc.StatusCode.FAILED_PRECONDITION, lambda bodies: refusal)
    async with server.serving() as bus:
        outcomes = await publish(bus)
    assert server.calls == 1
    assert {each.kind for each in outcomes if isinstance(each, Fault)} == {FaultKind.DENIED}
    assert len([each for each in outcomes if isinstance(each, Fault)]) == 100
    assert "check that its version is there and enabled" in outcomes[0].detail


@pytest.mark.parametrize("code", [grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.INVALID_ARGUMENT])
async def test_one_message_that_is_refused_fails_alone(code: grpc.StatusCode) -> None:
    violation = error_details_pb2.BadRequest.FieldViolation(field="messages[0].data")
    refusal = error_details_pb2.BadRequest(field_violations=[violation])
    server = Refusing(code, lambda bodies: refusal if b"37" in bodies else None)
    async with server.serving() as bus:
        outcomes = await publish(bus)
    failed = {place: each.kind for place, each in enumerate(outcomes) if isinstance(each, Fault)}
    assert failed == {37: FaultKind.INVALID}
