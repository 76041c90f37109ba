"""A server in a thread of its own, on a clock that the test moves, and the library's clients for it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest
from azure.servicebus import ServiceBusClient

from polybus.clock import SteppedClock
from polybus.localcloud.server import running_in_thread
from polybus.localcloud.servicebus import QueueOptions, ServiceBusServer

_numbers = itertools.count(1)


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


@pytest.fixture
def server(clock: SteppedClock) -> Iterator[ServiceBusServer]:
    with running_in_thread(ServiceBusServer(clock=clock)) as running:
        yield running


@pytest.fixture
def client(server: ServiceBusServer) -> Iterator[ServiceBusClient]:
    with ServiceBusClient.from_connection_string(server.connection_string(), retry_total=0) as opened:
        yield opened


@pytest.fixture
def queue(server: ServiceBusServer) -> Callable[..., str]:
    """Create a queue of its own with the given options."""

    def create(**options: object) -> str:
        name = f"queue-{next(_numbers)}"
        server.entities.create_queue(name, QueueOptions(**options))  # type: ignore[arg-type]
        return name

    return create
