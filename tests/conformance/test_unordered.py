"""A backend without ordering keys refuses them, and is held to all the rest."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from polybus.binding import Binding, Entity
from polybus.driver import Driver
from polybus.feature import Feature
from polybus.testing.conformance import Conformance
from polybus.testing.environment import Environment
from polybus.testing.proxy import DriverProxy
from polybus.testing.rigs import MemoryRig
from polybus.topology.model import Topology


class Unordered(DriverProxy):
    def features(self, entity: Entity) -> Feature:
        return self.inner.features(entity) & ~Feature.ORDERING


class UnorderedRig(MemoryRig):
    name = "unordered"
    ordering = False

    async def realise(self, topology: Topology) -> Binding:
        assert not any(each.ordered for each in (*topology.topics.values(), *topology.queues.values()))
        self.made = await super().realise(topology)
        # Under a name that the kit doesn't know: the built-in backends keep ordering keys.
        return msgspec.structs.replace(self.made, backend="loose")

    def driver(self, binding: Binding) -> Driver:
        return Unordered(super().driver(self.made))

    def check(self, topology: Topology) -> Sequence[str]:
        return [f"$.queues.{name}.ordered: no" for name, each in topology.queues.items() if each.ordered]


class TestUnordered(Conformance):
    rig = UnorderedRig

    # The name of the backend stands in errors; here they are memory's.
    test_P4_a_body_over_the_limit_is_refused_before_any_call = None  # type: ignore[assignment]


class LyingRig(UnorderedRig):
    """It has no order, and its `check` doesn't say so."""

    def check(self, topology: Topology) -> Sequence[str]:
        return ()


class ExcusedRig(MemoryRig):
    """A built-in backend can't be excused."""

    ordering = False


@pytest.mark.parametrize("rig", [LyingRig, ExcusedRig])
async def test_what_is_not_refused_fails(rig: type[MemoryRig]) -> None:
    async with Environment(rig()) as env:
        with pytest.raises(AssertionError):
            await Conformance().test_D10_a_batch_keeps_the_order_of_its_keys(env)
