"""The order in which messages may leave, for any mix of keys, limits and outcomes."""

from __future__ import annotations

from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from polybus.bus.send_queue import Item, SendQueue
from polybus.driver import BatchLimits, Outgoing, Prepared
from polybus.message import Message

KEYS = st.lists(st.sampled_from([None, None, "a", "b", "c"]), max_size=40)
LIMITS = st.builds(
    BatchLimits,
    count=st.integers(1, 6),
    total_bytes=st.integers(20, 60),
    mixes_keys=st.booleans(),
    repeats_key=st.booleans(),
)


def make_item(number: int, key: str | None) -> Item:
    message = Message(b"%d" % number, {}, key, str(number))
    item = Item(Outgoing(message), 0.0)
    item.prepared, item.size = Prepared(item.outgoing, 10, None), 10
    return item


def conclude(queue: SendQueue, batch: list[Item]) -> None:
    for item in batch:
        if item.key is not None:
            queue.done(item)


@given(KEYS, LIMITS, st.randoms(use_true_random=False))
def test_every_message_leaves_once_in_the_order_of_its_key(keys, limits, random) -> None:
    queue = SendQueue(limits)
    for number, key in enumerate(keys):
        queue.add(make_item(number, key))
    left: list[Item] = []
    under_way: list[list[Item]] = []
    while queue or under_way:
        if queue and (not under_way or random.random() < 0.5):
            batch = queue.take()
            check_batch(batch, limits, under_way)
            under_way.append(batch)
            left += batch
        else:
            conclude(queue, under_way.pop(random.randrange(len(under_way))))
    assert sorted(int(item.outgoing.message.id) for item in left) == list(range(len(keys)))
    assert (queue.count, queue.bytes) == (0, 0)
    by_key = defaultdict(list)
    for item in left:
        by_key[item.key].append(int(item.outgoing.message.id))
    assert all(numbers == sorted(numbers) for numbers in by_key.values())


def check_batch(batch: list[Item], limits: BatchLimits, under_way: list[list[Item]]) -> None:
    keys = [item.key for item in batch if item.key is not None]
    assert batch
    assert len(batch) <= limits.count
    assert sum(item.size for item in batch) <= limits.total_bytes or len(batch) == 1
    assert limits.repeats_key or len(set(keys)) == len(keys), "a key is repeated"
    assert limits.mixes_keys or len({item.key for item in batch}) == 1, "keys are mixed"
    busy = {item.key for other in under_way for item in other}
    assert not busy.intersection(keys), "a key is in two batches at once"


@given(KEYS, LIMITS)
def test_what_is_cleared_is_gone_and_the_rest_is_not(keys, limits) -> None:
    queue = SendQueue(limits)
    for number, key in enumerate(keys):
        queue.add(make_item(number, key))
    cleared = queue.clear("a")
    assert [item.key for item in cleared] == ["a"] * keys.count("a")
    queue.add(make_item(99, "a"))
    left = []
    while queue:
        batch = queue.take()
        left += batch
        conclude(queue, batch)
    assert len(left) == len(keys) - keys.count("a") + 1


@given(KEYS, LIMITS, st.integers(0, 39))
def test_one_that_is_removed_is_gone_and_the_rest_is_not(keys, limits, which) -> None:
    queue = SendQueue(limits)
    items = [make_item(number, key) for number, key in enumerate(keys)]
    for item in items:
        queue.add(item)
    if which < len(items):
        queue.remove(items.pop(which))
    left = []
    while queue:
        batch = queue.take()
        left += batch
        conclude(queue, batch)
    assert set(left) == set(items)
    assert (queue.count, queue.bytes) == (0, 0)
