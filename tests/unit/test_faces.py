"""What users see of polybus's classes: the names that are documented for them, and nothing that only polybus needs."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import pytest

import polybus
import polybus.driver
import polybus.errors
from polybus import sync
from polybus.topology.file import loads

# A name of its own: what is in memory is found by it, in the whole process.
TOPOLOGY = loads('[bus]\nname = "faces"\n[queues.jobs]\n', source="polybus.toml")

DELIVERY = """
    ack attempt attributes body dead_letter id lease_until lost message nack ordering_key redelivered settled source
"""
DEAD_LETTERS = "find peek purge redrive stats"
OPERATIONS = "blocked consume dead_letters describe features peek ping publish publish_many purge raw resume stats"
FACES = {
    "App": "bus clock consumers drain handler handlers lifespan middleware problem run running service types",
    "Bus": f"aclose backend binding clock consumer origin {OPERATIONS}",
    "Consumer": "drain in_flight not_taking pause problem resume run",
    "Consumption": "drain in_flight",
    "DeadLetters": DEAD_LETTERS,
    "Delivery": f"{DELIVERY} with_message",
    "SyncBus": f"backend binding close origin {OPERATIONS}",
    "SyncConsumption": "drain in_flight receive",
    "SyncDeadLetters": DEAD_LETTERS,
    "SyncDelivery": DELIVERY,
}


def faces() -> set[str]:
    """Return the names of the exported classes that are more than values, errors and clocks."""
    exported = [getattr(module, name) for module in (polybus, sync) for name in module.__all__]
    classes = [each for each in exported if isinstance(each, type) and not issubclass(each, BaseException)]
    values = {
        "Binding",
        "Blob",
        "Entity",
        "Fault",
        "Message",
        "Peeked",
        "Sent",
        "Stats",
        "ConsumerOptions",
        "PublisherOptions",
    }
    flags = {"FaultKind", "Feature"}
    return {each.__name__ for each in classes} - values - flags - {"Clock"} - {c.__name__ for c in _clocks()}


def _clocks() -> Iterator[type]:
    yield from (polybus.ManualClock, polybus.SteppedClock, polybus.SystemClock)


def shown(instance: object) -> set[str]:
    return {name for name in dir(instance) if not name.startswith("_")}


async def one_of_each() -> list[object]:
    async with polybus.connect(TOPOLOGY) as bus:
        await bus.publish("jobs", "a")
        consumption = bus.consume("jobs")

        async def handle(delivery: polybus.Delivery) -> None: ...

        async with consumption as deliveries, await anext(aiter(deliveries)) as delivery:
            return [polybus.App(), bus, bus.consumer("jobs", handle), consumption, bus.dead_letters("jobs"), delivery]


def one_of_each_sync() -> list[object]:
    with sync.connect(TOPOLOGY) as bus:
        bus.publish("jobs", "a")
        with bus.consume("jobs") as deliveries, next(deliveries) as delivery:
            return [bus, deliveries, bus.dead_letters("jobs"), delivery]


def test_every_class_with_a_face_is_listed() -> None:
    assert faces() == set(FACES)


async def test_users_see_what_is_documented_for_them() -> None:
    for instance in await one_of_each():
        name = type(instance).__name__
        assert shown(instance) == set(FACES[name].split()), name


def test_users_of_the_blocking_bus_see_what_is_documented_for_them() -> None:
    for instance in one_of_each_sync():
        name = type(instance).__name__
        assert shown(instance) == set(FACES[name].split()), name


@pytest.mark.parametrize("name", FACES)
def test_what_users_see_is_explained(name: str) -> None:
    """Each name has a docstring, or is told of in that of its class."""
    kind = getattr(polybus, name, None) or getattr(sync, name)
    text = inspect.getdoc(kind) or ""
    assert text
    unexplained = [
        member
        for member in FACES[name].split()
        if not inspect.getdoc(getattr(kind, member, None)) and f"`{member}`" not in text
    ]
    assert unexplained == []


def test_one_name_means_one_thing_and_drivers_that_match_on_the_former_one_go_on() -> None:
    assert polybus.driver.DeadLetter is polybus.driver.ToDeadLetters
    assert polybus.DeadLetter is polybus.errors.DeadLetter
    assert not issubclass(polybus.driver.ToDeadLetters, BaseException)


async def test_a_delivery_answers_to_its_former_names_with_a_warning() -> None:
    async with polybus.connect(TOPOLOGY) as bus:
        await bus.publish("jobs", b"1")
        async with bus.consume("jobs") as deliveries:
            delivery = await anext(aiter(deliveries))
            with pytest.warns(DeprecationWarning, match=r"Delivery\.received is polybus's own"):
                received = getattr(delivery, "received")  # noqa: B009 - a type checker knows no such name
            assert received.message.id == delivery.id
            with pytest.raises(AttributeError, match="no attribute 'receive'"):
                getattr(delivery, "receive")  # noqa: B009
            await delivery.ack()


async def test_a_bus_answers_to_its_former_names_with_a_warning() -> None:
    async with polybus.connect(TOPOLOGY) as bus:
        jobs = bus.binding.queues["jobs"]
        with pytest.warns(DeprecationWarning, match=r"Bus\.call is polybus's own"):
            call = getattr(bus, "call")  # noqa: B009 - a type checker knows no such name
        assert await call(lambda admin: admin.stats(jobs)) == await bus.stats("jobs")
        with pytest.raises(AttributeError, match="no attribute 'cal'"):
            getattr(bus, "cal")  # noqa: B009
