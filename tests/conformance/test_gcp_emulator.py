"""The part of the suite that Google's own Pub/Sub emulator supports, and a line that names what it lacks.

Where the emulator isn't on the machine, the line says so.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable

from polybus.testing.clauses import moves_time
from polybus.testing.conformance import Conformance

from .rig_gcp_emulator import JAR, WHY_NOT, EmulatorRig

# What the emulator lacks, and the tests that show it.
LACKS = {
    "filters": ("test_D8_filters", "test_D13_no_other", "test_D13_a_filter"),
    "dead-letter forwarding": ("test_D6_the_backend_itself",),
}
# Tests that wait for 20 seconds of the machine's clock each and more (what a stream or a look held as it ended comes
# again after up to a minute here); shorter ones prove the same of the emulator.
LONG = (
    "test_O1_peek_shows_every_dead_letter_once_with_its_reason",
    "test_O1_peek_shows_each_message_once_and_changes_nothing",
    "test_D10_a_key_is_with_one_of_two_consumers_that_both_wait_for_it",
    "test_D13_it_can_be_buried_and_redriven_again_and_again",
    "test_D13_a_letter_comes_back_as_it_was",
    "test_D1_a_receive_without_messages_waits_and_returns",
)

# Delays, which Google has none of: these tests move no time here.
REFUSED = "test_P8_delay_on_"

TESTS = {name: member for name, member in inspect.getmembers(Conformance) if name.startswith("test_")}


def lacking(name: str) -> bool:
    return name.startswith(tuple(test for tests in LACKS.values() for test in tests))


def waits(name: str) -> bool:
    """Say whether a test lets time pass: the emulator runs on the machine's own clock."""
    return moves_time(TESTS[name]) and not name.startswith(REFUSED)


RUN = [name for name in TESTS if not lacking(name) and not waits(name) and name not in LONG]


if JAR is not None:

    class TestGoogleEmulator(Conformance):
        rig = EmulatorRig

    for each in TESTS:
        if each not in RUN:
            setattr(TestGoogleEmulator, each, None)


def test_what_the_emulator_lacks_is_said(say: Callable[[str], None]) -> None:
    assert len(RUN) > len(TESTS) / 2
    assert set(LONG) <= set(TESTS)
    assert all(any(name.startswith(test) for name in TESTS) for tests in LACKS.values() for test in tests)
    if JAR is None:
        say(f"Conformance on Google's Pub/Sub emulator: not run, {WHY_NOT}")
    else:
        later = sum(not lacking(name) and waits(name) for name in TESTS)
        say(
            f"Conformance on {os.path.basename(JAR)}: {len(RUN)} of {len(TESTS)} tests; it lacks "
            f"{', '.join(LACKS)}, and a clock to move ({later} tests)"
        )
