"""From the stack's program to a handled message, on Google Cloud."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

import polybus
from polybus.bus.bus import Bus
from polybus.clouds.gcp.local import Realiser
from polybus.localcloud.pubsub.server import PubsubServer
from polybus.localcloud.server import running_in_thread

from . import flow, runner

PROJECT = "shop-dev"


@pytest.fixture
def deployed(monkeypatch: pytest.MonkeyPatch) -> Iterator[runner.Run]:
    """Start a server, make on it each resource from exactly what Pulumi received, and lead the library to it."""
    with running_in_thread(PubsubServer(project=PROJECT)) as server:
        for name, value in server.env().items():
            monkeypatch.setenv(name, value)
        realiser = Realiser(endpoint=f"{server.host}:{server.port}", project=PROJECT)
        try:
            yield runner.run_stack(
                "gcp-dev", realiser.create, look=lambda token, given: realiser.create(token, "", given)
            )
        finally:
            realiser.close()


async def test_the_exported_binding_carries_messages(deployed: runner.Run) -> None:
    binding = runner.stack_output(deployed)
    assert json.loads(binding)["settings"] == {"project": PROJECT}

    @asynccontextmanager
    async def connect(service: str) -> AsyncIterator[Bus]:
        async with polybus.connect(binding, service=service) as bus:
            yield bus

    await flow.whole_flow(connect)
