"""From the stack's program to a handled message, on Azure."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

import polybus
from polybus.bus.bus import Bus
from polybus.clouds.azure.local import Realiser
from polybus.localcloud.server import running_in_thread
from polybus.localcloud.servicebus import ServiceBusServer

from . import flow, runner


@pytest.fixture
def deployed(monkeypatch: pytest.MonkeyPatch) -> Iterator[runner.Run]:
    """Start a server, make on it each resource from exactly what Pulumi received, and lead the library to it."""
    with running_in_thread(ServiceBusServer()) as server:
        for name, value in server.env().items():
            monkeypatch.setenv(name, value)
        realiser = Realiser(connection_string=server.connection_string(), ca_file=server.certificate)
        try:
            yield runner.run_stack("azure-dev", realiser.create)
        finally:
            realiser.close()


async def test_the_exported_binding_carries_messages(deployed: runner.Run) -> None:
    binding = runner.stack_output(deployed)

    @asynccontextmanager
    async def connect(service: str) -> AsyncIterator[Bus]:
        async with polybus.connect(binding, service=service) as bus:
            yield bus

    await flow.whole_flow(connect)
