"""Mutants of the bus on its way out: order, retries, bounds, and what one publish is."""

from __future__ import annotations

from polybus.testing.mutants.editing import Patch, edit, together
from polybus.testing.mutants.mutant import Mutant

__all__ = ["SENDING"]

_PUBLISHER = "polybus.bus.publisher:Publisher"
_SENDER = "polybus.bus.sending:Sender"
_FLOW = "polybus.bus.flow_control:FlowControl"
_ENCODER = "polybus.bus.outgoing:Encoder"


def _m(clause: str, what: str, patch: Patch, hint: str = "") -> Mutant:
    return Mutant(clause, what, patch=patch, hint=hint)


_LAST_FIRST = together(
    edit(f"{_FLOW}._add", "if self._first is None:", "if True:"),
    edit(f"{_FLOW}._look", "next(iter(self._waiting), None)", "next(reversed(self._waiting), None)"),
)
_NOBODY_FIRST = edit(f"{_FLOW}.enter", "if first is not None and first is not (turn or item):", "if False:")

SENDING = (
    _m("P6", "who waits for room last is let in first", _LAST_FIRST, "room"),
    _m(
        "P6",
        "who calls while others wait for room is let in before them",
        _NOBODY_FIRST,
        "a_small_message",
    ),
    _m(
        "P6",
        "what is published while the publisher opens is sent as soon as it is open",
        together(
            _NOBODY_FIRST,
            edit(
                f"{_PUBLISHER}._opened",
                "self._admit()",
                "asyncio.get_running_loop().call_soon(lambda: asyncio.get_running_loop().call_soon(self._admit))",
            ),
        ),
        "opens",
    ),
    _m(
        "P6",
        "two batches of one key are under way at once",
        edit("polybus.bus.send_queue:SendQueue.add", " and not key_queue.sending:", ":"),
        "two_batches",
    ),
    _m(
        "P6",
        "a failed opening blocks no key",
        edit(
            f"{_PUBLISHER}._failed_to_open",
            "self._conclude(item, fault)",
            "item.blocks = False; self._conclude(item, fault)",
        ),
        "opening_that_fails",
    ),
    _m(
        "P6",
        "what follows a failed message of its batch is tried again",
        edit(f"{_SENDER}._look_at", " and item.key not in failed", ""),
        "in_its_batch",
    ),
    _m(
        "P6",
        "what waits behind a failed message of its key is sent",
        edit(f"{_PUBLISHER}._block", "self._queue.clear(key) if stage != WAITING else []", "[]"),
        "given_up after_a_failure",
    ),
    _m(
        "P6",
        "resume does nothing",
        edit(f"{_PUBLISHER}.resume", "self._blocked.resume(ordering_key)", "pass"),
        "resumed opening_that_fails",
    ),
    _m(
        "P5",
        "a call that hangs outlives the deadline",
        edit(f"{_PUBLISHER}._end_overdue", "lambda item: item.deadline <= now", "lambda item: False"),
        "though_nothing_answers",
    ),
    _m(
        "P5",
        "the wait between tries doesn't grow",
        edit("polybus.bus.retry:RetryPolicy.wait", "self.maximum, attempt)", "self.maximum, 1)"),
        "backoff_grows",
    ),
    _m(
        "P5",
        "what the cloud asks to wait is ignored",
        edit("polybus.bus.retry:RetryPolicy.wait", "at_least or 0.0", "0.0"),
        "as_long_as_the_cloud_asks",
    ),
    _m(
        "P5",
        "a received message that is published again is taken for itself",
        edit(f"{_ENCODER}._of_message", "value.published_at is not None or not value.id", "not value.id"),
        "published_again",
    ),
    _m(
        "P5",
        "an id that a caller gave names the call",
        edit(f"{_ENCODER}._of_message", "value.content_type), new_id()", 'value.content_type), ""'),
        "one_id_in_two",
    ),
    _m(
        "P5",
        "too few outcomes are taken as they are",
        edit(f"{_SENDER}._call", "if len(outcomes) != len(batch):", "if False:"),
        "driver_does_wrong",
    ),
    _m(
        "P5",
        "a call that ends cancelled ends the task that sends",
        edit(f"{_SENDER}._call", "if task is not None and task.cancelling():", "if True:"),
        "driver_does_wrong",
    ),
    _m(
        "P1",
        "closing doesn't wait for what is being sent",
        edit(f"{_PUBLISHER}.aclose", "await self._idle", "pass"),
        "closing_waits",
    ),
)
