"""What is read, checked and planned takes twice the work for twice the entries: counted in Python's instructions."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
from tests.clouds import CLOUDS

from polybus.plan.check import check
from polybus.plan.table import plan_for
from polybus.topology.file import loads
from polybus.topology.model import Topology


def text_of(size: int) -> str:
    """Write a topology in which every kind of entry is there `size` times, and each refers to one of the others."""
    entries = ['[bus]\nname = "big"\n']
    for number in range(size):
        filtered = f"filter = 'region == \"r{number}\"'"
        entries += [
            f"[topics.t{number}]\n",
            f'[subscriptions.s{number}]\ntopic = "t{number}"\n{filtered}\n',
            f"[queues.q{number}]\n",
            f'[services.w{number}]\npublishes = ["t{number}"]\nconsumes = ["s{number}"]\n',
        ]
    return "".join(entries)


def instructions(call: Callable[[], object]) -> int:
    """Count what Python executes in a call, in no matter what time."""
    count = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return count


def grows(call: Callable[[int], object]) -> float:
    call(80)  # imports, and what is kept for good
    return instructions(lambda: call(80)) / instructions(lambda: call(40))


# What grows with the entries, and a part that doesn't, give less than 2: 1.98 to 1.995 by what is planned here. One
# walk over all subscriptions for each topic, of the cheapest kind, gives 2.1 and more.
MOST = 2.05


def test_reading_grows_with_what_is_read() -> None:
    assert grows(lambda size: loads(text_of(size), source="x")) < MOST


@pytest.mark.parametrize("cloud", CLOUDS)
@pytest.mark.parametrize("does", [check, plan_for], ids=["check", "plan"])
def test_checking_and_planning_grow_with_the_topology(does: Callable[[Topology, str], object], cloud: str) -> None:
    read = {size: loads(text_of(size), source="x") for size in (40, 80)}
    assert grows(lambda size: does(read[size], cloud)) < MOST
