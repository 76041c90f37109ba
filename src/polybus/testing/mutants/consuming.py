"""Mutants of the bus on its way in: leases, order, retries, drains, and whose failure something is."""

from __future__ import annotations

from polybus.testing.mutants.editing import Patch, edit, together
from polybus.testing.mutants.mutant import Mutant

__all__ = ["CONSUMING"]

_RECEIVER = "polybus.bus.receiver:Receiver"
_HOLDING = "polybus.bus.holding:Holding"
_DELIVERY = "polybus.bus.held:HeldDelivery"
_KEEPER = "polybus.bus.lease:LeaseKeeper"
_SETTLER = "polybus.bus.settle:Settler"
_DRAIN = "polybus.bus.drain:Drain"
_REDRIVE = "polybus.bus.redrive:_Redrive"


def _m(clause: str, what: str, patch: Patch, hint: str = "") -> Mutant:
    return Mutant(clause, what, patch=patch, hint=hint)


_HANDS_OUT_ALL = edit(f"{_RECEIVER}.take", "if delivery.lease_until > self._clock.monotonic():", "if True:")

CONSUMING = (
    _m(
        "D2",
        "an ack isn't checked against the clock",  # wherever it could be: each alone is caught up with by the others
        together(
            edit(f"{_HOLDING}._check_lease", "self._clock.monotonic() >= delivery.lease_until", "False"),
            edit(f"{_SETTLER}._in_time", "if entry.delivery.lease_until <= now:", "if False:"),
            edit(f"{_SETTLER}.give_up", "if entry is not None:", "if False:"),
        ),
        "is_not_sent_though",
    ),
    _m("D2", "what was prefetched is handed out whatever its lease is", _HANDS_OUT_ALL, "stood_still"),
    _m(
        "D2",
        "what comes late is believed",
        together(
            _HANDS_OUT_ALL,
            edit(f"{_HOLDING}._in_time", "if received.lease_until <= now:", "if False:"),
        ),
        "comes_late",
    ),
    _m(
        "D2",
        "of a lost lease nobody is told",
        edit(f"{_HOLDING}.lose", "self._report.lost(delivery)", "pass"),
        "is_told not_handled_any_more",
    ),
    _m("D2", "a lost lease cancels nothing", edit(f"{_DELIVERY}.cancel", "self._task.cancel()", "pass"), "cancels"),
    _m(
        "D2",
        "max_lease isn't kept",
        edit(f"{_KEEPER}._extend_all", "min(self._lease, delivery.received_at + self._max_lease - now)", "self._lease"),
        "max_lease",
    ),
    _m(
        "D2",
        "a lease is extended only once it is over",
        edit(
            f"{_DELIVERY}.__init__",
            "self.renew_at = (received_at + received.lease_until) / 2",
            "self.renew_at = received.lease_until",
        ),
        "kept_while",
    ),
    _m(
        "D2",
        "only what a handler has is extended",
        edit(f"{_KEEPER}._is_due", "not delivery.settling", "not delivery.settling and delivery.running"),
        "prefetched_is_kept",
    ),
    _m(
        "D2",
        "too few answers to an extension are taken as they are",
        edit(
            f"{_KEEPER}._answered",
            "elif (wrong := wrong_answers(answers, len(deliveries), LeaseUntil | Fault)) is not None:",
            "elif False:\n        odd = None",
        ),
        "goes_wrong_once",
    ),
    _m(
        "D3",
        "settling twice asks twice",
        edit(f"{_DELIVERY}.ack", "if self.state is not SETTLED:", "if True:"),
        "twice",
    ),
    _m(
        "D4",
        "the wait before another attempt doesn't grow",
        edit(f"{_HOLDING}.retry_delay", "600.0), attempt)", "600.0), 1)"),
        "grows",
    ),
    _m(
        "D5",
        "retries in place aren't counted",
        edit(f"{_HOLDING}._due", "delivery.retries + 1", "delivery.retries"),
        "count_from_one",
    ),
    _m(
        "D5",
        "giving back at a drain counts as an attempt",
        edit(f"{_DELIVERY}.returned", "self.attempt if self.begun else self.attempt - 1", "self.attempt"),
        "giving_back",
    ),
    _m(
        "D6",
        "one attempt more than max_attempts is made",
        edit(f"{_DELIVERY}.is_last_attempt", "self.attempt >= ", "self.attempt > "),
        "a_failing_handler",
    ),
    _m(
        "D6",
        "the reason isn't the error's name",
        edit(
            "polybus.bus.held:read",
            "Failed(type(error).__qualname__,",
            'Failed("Error",',
        ),
        "a_failing_handler",
    ),
    _m(
        "D10",
        "what is behind a message is handed out beside it",
        edit(
            "polybus.bus.order:Groups.add", "self.waiting += 1\n    return False", "self.waiting += 1\n    return True"
        ),
        "belongs_to_one",
    ),
    _m(
        "D10",
        "giving a message back lets the next of its key pass",
        edit(f"{_HOLDING}._settled", "in_order=not isinstance(settlement, Nack)", "in_order=True"),
        "given_back",
    ),
    _m(
        "D10",
        "a lost lease lets the next of its key pass",
        edit(f"{_HOLDING}.lose", "self._release(delivery, in_order=False)", "self._release(delivery, in_order=True)"),
        "lets_nothing",
    ),
    _m(
        "D12",
        "a drain doesn't wait for settlements",
        together(
            edit(f"{_DRAIN}.run", "if not await self._in_time(loop.create_task(self._settler.flush())):", "if False:"),
            edit(f"{_HOLDING}._release", "not self.held and ", ""),
            edit(f"{_HOLDING}.ended", "not self.held and ", ""),
        ),
        "settlements_under_way",
    ),
    _m(
        "D12",
        "a handler that swallows its cancellation keeps its message",
        edit(f"{_DRAIN}._interrupt", "self._receiver.take_from(left)", "pass"),
        "a_handler_does_not",
    ),
    _m(
        "D12",
        "the grace is ten times what was asked for",
        edit(f"{_DRAIN}.run", "self._after(grace, self._grace_over)", "self._after(10 * grace, self._grace_over)"),
        "after_the_grace a_handler_does_not",
    ),
    _m(
        "D12",
        "a drain waits for the backend for ever",
        edit(f"{_DRAIN}.run", "self._after(grace + CALLS, self._cut)", "pass"),
        "though_nothing_answers",
    ),
    _m(
        "D12",
        "what was prefetched is kept until its lease ends",
        edit(f"{_HOLDING}.give_back_idle", "self.give_back(delivery)", "pass"),
        "what_was_prefetched",
    ),
    _m(
        "D13",
        "redrive removes what it didn't choose",
        edit(f"{_REDRIVE}._put_back", "await self._remove(back)", "await self._remove(letters)"),
        "not_chosen",
    ),
    _m(
        "D13",
        "redrive puts back what it didn't choose",
        edit(f"{_REDRIVE}._choose", "self._match(letter.message)", "True"),
        "not_chosen",
    ),
    _m(
        "D15",
        "a handler that ends cancelled has given its message back",
        edit(
            "polybus.bus.consumer:conclude",
            "(given_back and",
            "(not isinstance(error, Exception) or given_back and",
        ),
    ),
    _m(
        "D16",
        "what ends receiving is kept to itself",
        edit(f"{_RECEIVER}.fail", "self._error = error", "pass"),
        "can_not_go_on",
    ),
)
