"""What a publisher may hold at once (contract, P7)."""

from __future__ import annotations

from polybus.bus.gate import Gate
from polybus.bus.lanes import Item
from polybus.driver import Outgoing
from polybus.message import Message


def make_item(size: int, key: str | None = None) -> Item:
    item = Item(Outgoing(Message(b"", {}, key, "id")), 0.0)
    item.size = size
    return item


def admit(gate: Gate) -> list[int]:
    """Let in what fits, and return the sizes."""
    sizes = []
    while (item := gate.first()) is not None and gate.enter(item):
        gate.remove(item)
        sizes.append(item.size)
    return sizes


async def test_it_lets_in_what_fits_and_no_more() -> None:
    gate = Gate(2, 100)
    assert gate.enter(make_item(50))
    assert gate.enter(make_item(50))
    assert not gate.enter(make_item(0))


async def test_one_message_of_any_size_passes_when_nothing_is_inside() -> None:
    gate = Gate(2, 100)
    large = make_item(1_000)
    assert gate.enter(large)
    gate.wait(make_item(1))
    assert admit(gate) == []
    gate.leave(large)
    assert admit(gate) == [1]


async def test_who_waits_first_enters_first_even_if_a_smaller_one_would_fit() -> None:
    gate = Gate(10, 100)
    inside = make_item(60)
    assert gate.enter(inside)
    gate.wait(make_item(80))
    gate.wait(make_item(10))
    assert not gate.enter(make_item(10))
    assert admit(gate) == []
    gate.leave(inside)
    assert admit(gate) == [80, 10]
    assert (gate.count, gate.bytes) == (2, 90)


async def test_one_that_is_taken_back_leaves_no_hole() -> None:
    gate = Gate(1, 100)
    inside, first, second = make_item(1), make_item(2), make_item(3)
    assert gate.enter(inside)
    gate.wait(first)
    gate.wait(second)
    gate.remove(first)
    gate.leave(inside)
    assert admit(gate) == [3]
    gate.leave(second)
    assert (gate.count, gate.bytes, bool(gate)) == (0, 0, False)


async def test_what_waits_is_found_by_its_key_in_the_order_of_the_calls() -> None:
    gate = Gate(1, 100)
    items = [make_item(number, key) for number, key in enumerate(["a", None, "b", "a", "a"])]
    for item in items:
        gate.wait(item)
    gate.remove(items[3])
    assert [item.size for item in gate.waiting("a")] == [0, 4]
    assert [item.size for item in gate.waiting()] == [0, 1, 2, 4]
    assert gate.waiting("c") == []
