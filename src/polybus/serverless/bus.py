"""The bus of a function: it publishes like any, and its deliveries are what the cloud invokes the function with."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any

import msgspec

from polybus.binding import Binding, Entity
from polybus.bus.bus import Bus
from polybus.bus.consumer import Consumer, Handler
from polybus.bus.options import ConsumerOptions, PublisherOptions
from polybus.clock import Clock
from polybus.driver import ConsumerDriver
from polybus.middleware import AnyMiddleware
from polybus.serverless.inlet import Inlet
from polybus.telemetry import Hooks

__all__ = ["FunctionBus"]


class FunctionBus(Bus):
    """A bus whose consumers receive nothing by themselves: each is an inlet that invocations are handed to.

    `declared` is the binding as it was deployed; in `binding` push subscriptions are like any other, because in a
    function they do have handlers.
    """

    def __init__(
        self,
        binding: Binding,
        *,
        origin: str,
        service: str | None,
        clock: Clock,
        hooks: tuple[Hooks, ...],
        publisher: PublisherOptions,
        doubt: str = "",
        middleware: Sequence[AnyMiddleware] = (),
    ) -> None:
        super().__init__(
            _handled(binding),
            origin=origin,
            service=service,
            clock=clock,
            hooks=hooks,
            publisher=publisher,
            driver=None,
            doubt=doubt,
            middleware=middleware,
        )
        self.declared = binding
        self.inlets: dict[str, Inlet] = {}
        self._settlers: dict[str, ConsumerDriver[Any]] = {}
        self._one_opens = asyncio.Lock()

    def _consumer(self, source: str, handler: Handler, options: ConsumerOptions | None) -> Consumer:
        """Return the inlet of a subscription or queue; nothing polls."""
        entity = self._checker.source(source)
        chosen, hooks = options or ConsumerOptions(), self._connection.hooks
        inlet = Inlet(entity, handler, chosen, backend=self.backend, clock=self.clock, hooks=hooks)
        self.inlets[source] = inlet
        return inlet

    async def settler(self, source: Entity) -> ConsumerDriver[Any]:
        """Return the backend's own consumer of a source, for settling alone: it is never asked to receive."""
        async with self._one_opens:
            found = self._settlers.get(source.name)
            if found is None:
                found = await self._connection.driver.open_consumer(source, prefetch=1, concurrency=1)
                self._settlers[source.name] = found
        return found

    async def aclose(self) -> None:
        """Close what settles, and then all that a bus closes; whatever fails is raised after that."""
        settlers, self._settlers = self._settlers, {}
        async with AsyncExitStack() as last:
            last.push_async_callback(super().aclose)
            for settler in settlers.values():
                last.push_async_callback(self._connection.close_in_time, "what settles deliveries", settler.aclose)


def _handled(binding: Binding) -> Binding:
    """Return the binding with push subscriptions open to handlers, for every service: the cloud delivers them."""
    pushed = tuple(name for name, entity in binding.subscriptions.items() if entity.push)
    if not pushed:
        return binding
    subscriptions: Mapping[str, Entity] = {
        name: msgspec.structs.replace(entity, push=False) for name, entity in binding.subscriptions.items()
    }
    services = {
        name: msgspec.structs.replace(rights, consumes=(*rights.consumes, *pushed))
        for name, rights in binding.services.items()
    }
    return msgspec.structs.replace(binding, subscriptions=subscriptions, services=services)
