"""Google's credentials on the channel that production has: TLS, with credentials on each call.

A local server stands behind TLS for Google; what google-auth finds is the test's.
"""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import google.auth
import google.auth.credentials
import grpc
import msgspec
import pytest
from google.auth import exceptions as auth

import polybus
from polybus.binding import Binding
from polybus.clouds.gcp.local import realise
from polybus.clouds.gcp.plan.resources import GcpSettings, plan
from polybus.errors import BackendError, FaultKind, PublishFailed
from polybus.localcloud.pubsub.server import PubsubServer
from polybus.localcloud.server import running_in_thread
from polybus.topology.file import loads

from .gcp_way import Way, tls

TOPOLOGY = """\
[bus]
name = "shop"
[queues.jobs]
"""
BOUND = 60.0


class Answer:
    """A metadata server's answer, as google-auth gives it along."""

    def __init__(self, status: int) -> None:
        self.status = status


class Scripted(google.auth.credentials.Credentials):
    """Credentials whose refreshes end as the test says, the last one for ever; None is a token."""

    def __init__(self, *outcomes: Exception | None) -> None:
        super().__init__()
        self.outcomes = list(outcomes)
        self.refreshes = 0

    def refresh(self, request: object) -> None:
        self.refreshes += 1
        outcome = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        if outcome is not None:
            raise outcome
        self.token = "token"
        self.expiry = datetime.datetime.now(datetime.UTC).replace(tzinfo=None) + datetime.timedelta(hours=1)


def of_metadata(status: int) -> auth.RefreshError:
    """Return what Compute Engine's credentials raise where the metadata server answers with a status."""
    error = auth.RefreshError("metadata")
    error.__cause__ = auth.TransportError("Failed to retrieve", Answer(status))
    return error


@pytest.fixture
def server() -> Iterator[PubsubServer]:
    with running_in_thread(PubsubServer(project="p")) as server:
        yield server


@pytest.fixture
async def binding(server: PubsubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Binding]:
    monkeypatch.delenv("PUBSUB_EMULATOR_HOST", raising=False)
    planned = plan(loads(TOPOLOGY, source="polybus.toml"), GcpSettings(project="p"))
    made = await asyncio.to_thread(realise, planned, endpoint=f"{server.host}:{server.port}", project="p")
    context, authority = tls(tmp_path)
    async with Way(server.port, context).open() as way:
        settings = {**made.settings, "api_endpoint": f"localhost:{way.port}", "ca_file": str(authority)}
        yield msgspec.structs.replace(made, settings=settings)


def found(monkeypatch: pytest.MonkeyPatch, *results: Any) -> None:
    """Have google-auth find these, one after the other, the last one for ever; errors are raised."""
    left = list(results)

    def default(**_: object) -> tuple[Any, str]:
        result = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(result, Exception):
            raise result
        return result, "p"

    monkeypatch.setattr(google.auth, "default", default)


@asynccontextmanager
async def connected(binding: Binding) -> AsyncIterator[polybus.Bus]:
    async with AsyncExitStack() as stack:
        yield await stack.enter_async_context(polybus.connect(binding))


async def handled(bus: polybus.Bus) -> bytes:
    async with asyncio.timeout(BOUND), bus.consume("jobs") as deliveries:
        async for delivery in deliveries:
            async with delivery:
                return delivery.body
    raise AssertionError("nothing came")


async def test_messages_pass_over_tls_with_credentials_on_each_call(
    binding: Binding, monkeypatch: pytest.MonkeyPatch
) -> None:
    found(monkeypatch, credentials := Scripted(None))
    async with connected(binding) as bus:
        await bus.publish("jobs", b"x")
        assert await handled(bus) == b"x"
        await bus.ping()
    assert credentials.refreshes == 1


REFUSED = [
    auth.RefreshError("invalid_grant: Invalid JWT Signature.", {"error": "invalid_grant"}),
    auth.RefreshError("invalid_grant", retryable=False),
    auth.ReauthFailError("no"),
    auth.RefreshError("Unable to acquire impersonated credentials", '{"error": {"code": 403, "status": "DENIED"}}'),
    of_metadata(404),
]
PASSING = [
    auth.TransportError("no route"),
    of_metadata(503),
    of_metadata(429),
    auth.RefreshError("internal_failure", {"error": "internal_failure"}, retryable=True),
    auth.RefreshError("Unable to acquire impersonated credentials", '{"error": {"code": 503}}'),
    auth.RefreshError("Unable to acquire impersonated credentials", "<html>Bad Gateway</html>"),
    auth.TimeoutError("slow"),
]


@pytest.mark.parametrize("error", REFUSED, ids=repr)
async def test_credentials_that_are_refused_are_final(
    error: Exception, binding: Binding, monkeypatch: pytest.MonkeyPatch
) -> None:
    """gRPC calls it UNAVAILABLE, as if Google were away."""
    found(monkeypatch, Scripted(error))
    async with connected(binding) as bus:
        with pytest.raises(PublishFailed) as caught:
            await asyncio.wait_for(bus.publish("jobs", b"x"), BOUND)
        [fault] = caught.value.outcomes
        assert isinstance(fault, polybus.Fault)
        assert fault.kind is FaultKind.UNAUTHENTICATED
        assert "projects/p/topics/shop-jobs" in fault.detail
        with pytest.raises(BackendError) as ended:
            await handled(bus)
        assert ended.value.fault.kind is FaultKind.UNAUTHENTICATED


@pytest.mark.parametrize("error", PASSING, ids=repr)
async def test_a_token_that_can_t_be_fetched_just_now_is_waited_for(
    error: Exception, binding: Binding, monkeypatch: pytest.MonkeyPatch
) -> None:
    found(monkeypatch, Scripted(error, error, error, None))
    async with connected(binding) as bus:
        await asyncio.wait_for(bus.publish("jobs", b"x"), BOUND)
    found(monkeypatch, Scripted(error, error, None))
    async with connected(binding) as bus:
        assert await handled(bus) == b"x"


async def test_credentials_that_come_late_are_found(binding: Binding, monkeypatch: pytest.MonkeyPatch) -> None:
    found(monkeypatch, auth.DefaultCredentialsError("none yet"), Scripted(None))
    async with connected(binding) as bus:
        with pytest.raises(PublishFailed):
            await bus.publish("jobs", b"x")
        await bus.publish("jobs", b"y")


async def test_a_server_that_is_away_isn_t_taken_for_refused_credentials(
    server: PubsubServer, binding: Binding, monkeypatch: pytest.MonkeyPatch
) -> None:
    found(monkeypatch, Scripted(auth.RefreshError("invalid_grant", retryable=True), None))
    async with connected(binding) as bus:
        await bus.publish("jobs", b"x")
        server.fail_next("Publish", grpc.StatusCode.UNAVAILABLE, count=2)
        await bus.publish("jobs", b"y")


@pytest.mark.parametrize("error", REFUSED, ids=repr)
async def test_credentials_that_were_replaced_after_they_were_refused_are_found(
    error: Exception, binding: Binding, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that was rotated: the process goes on with the new one, be it the publisher's or a consumer's look."""
    found(monkeypatch, Scripted(error), Scripted(None))
    async with connected(binding) as bus:
        with pytest.raises(PublishFailed):
            await bus.publish("jobs", b"x")
        await asyncio.wait_for(bus.publish("jobs", b"y"), BOUND)
        assert await handled(bus) == b"y"
    found(monkeypatch, Scripted(error), Scripted(None))
    async with connected(binding) as bus:
        with pytest.raises(BackendError):
            await handled(bus)
        await asyncio.wait_for(bus.publish("jobs", b"z"), BOUND)
        assert await handled(bus) == b"z"


async def test_a_token_that_google_refused_is_asked_for_anew(
    server: PubsubServer, binding: Binding, monkeypatch: pytest.MonkeyPatch
) -> None:
    found(monkeypatch, Scripted(None), renewed := Scripted(None))
    async with connected(binding) as bus:
        await bus.publish("jobs", b"x")
        server.fail_next("Publish", grpc.StatusCode.UNAUTHENTICATED)
        with pytest.raises(PublishFailed):
            await bus.publish("jobs", b"y")
        assert renewed.refreshes == 0
        await bus.publish("jobs", b"z")
    assert renewed.refreshes == 1
