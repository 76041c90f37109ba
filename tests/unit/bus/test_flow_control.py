"""What a publisher may hold at once (contract, P7)."""

from __future__ import annotations

from polybus.bus.flow_control import FlowControl
from polybus.bus.send_queue import Item
from polybus.driver import Outgoing
from polybus.message import Message


def make_item(size: int, key: str | None = None) -> Item:
    item = Item(Outgoing(Message(b"", {}, key, "id")), 0.0)
    item.size = size
    return item


def admit(flow: FlowControl) -> list[int]:
    """Let in what fits, and return the sizes."""
    sizes = []
    while (item := flow.first()) is not None and flow.enter(item):
        flow.remove(item)
        sizes.append(item.size)
    return sizes


async def test_it_lets_in_what_fits_and_no_more() -> None:
    flow = FlowControl(2, 100)
    assert flow.enter(make_item(50))
    assert flow.enter(make_item(50))
    assert not flow.enter(make_item(0))


async def test_one_message_of_any_size_passes_when_nothing_is_inside() -> None:
    flow = FlowControl(2, 100)
    large = make_item(1_000)
    assert flow.enter(large)
    flow.wait(make_item(1))
    assert admit(flow) == []
    flow.leave(large)
    assert admit(flow) == [1]


async def test_who_waits_first_enters_first_even_if_a_smaller_one_would_fit() -> None:
    flow = FlowControl(10, 100)
    inside = make_item(60)
    assert flow.enter(inside)
    flow.wait(make_item(80))
    flow.wait(make_item(10))
    assert not flow.enter(make_item(10))
    assert admit(flow) == []
    flow.leave(inside)
    assert admit(flow) == [80, 10]
    assert (flow.count, flow.bytes) == (2, 90)


async def test_one_that_is_taken_back_leaves_no_hole() -> None:
    flow = FlowControl(1, 100)
    inside, first, second = make_item(1), make_item(2), make_item(3)
    assert flow.enter(inside)
    flow.wait(first)
    flow.wait(second)
    flow.remove(first)
    flow.leave(inside)
    assert admit(flow) == [3]
    flow.leave(second)
    assert (flow.count, flow.bytes, bool(flow)) == (0, 0, False)


async def test_what_waits_is_found_by_its_key_in_the_order_of_the_calls() -> None:
    flow = FlowControl(1, 100)
    items = [make_item(number, key) for number, key in enumerate(["a", None, "b", "a", "a"])]
    for item in items:
        flow.wait(item)
    flow.remove(items[3])
    assert [item.size for item in flow.waiting("a")] == [0, 4]
    assert [item.size for item in flow.waiting()] == [0, 1, 2, 4]
    assert flow.waiting("c") == []
