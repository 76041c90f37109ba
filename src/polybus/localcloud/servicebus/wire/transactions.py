"""Transactions: what is sent and settled in one is done when it is discharged, all of it or nothing (AMQP 4)."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from polybus.localcloud.servicebus.amqp import encode as e
from polybus.localcloud.servicebus.amqp import performatives as p
from polybus.localcloud.servicebus.amqp.decode import DecodeError, Described, decode
from polybus.localcloud.servicebus.amqp.sections import VALUE, sections
from polybus.localcloud.servicebus.refusal import NOT_ALLOWED, Refusal

__all__ = ["Transactions", "id_of"]

UNKNOWN_ID = "amqp:transaction:unknown-id"
ROLLED_BACK = "amqp:transaction:rollback"
MOST_STEPS = 100  # Microsoft's "Overview of Service Bus transaction processing": messages of a transaction

Step = Callable[[], None]


def id_of(state: Any) -> bytes | None:
    """Return the transaction of a delivery state; None where it is of none."""
    if not isinstance(state, Described) or p.code_of(state.descriptor) != p.STATE_TRANSACTIONAL:
        return None
    found = state.value[0] if isinstance(state.value, list) and state.value else None
    if not isinstance(found, bytes):
        raise DecodeError("a transactional state has no transaction's id")
    return found


class _Transaction:
    def __init__(self) -> None:
        self.checks: list[Step] = []
        self.steps: list[Step] = []
        self.undo: list[Step] = []


class Transactions:
    """Those of one connection; they end with it, undone."""

    def __init__(self) -> None:
        self._open: dict[bytes, _Transaction] = {}

    def add(self, found: bytes, step: Step, *, check: Step | None = None, undo: Step | None = None) -> None:
        """Have `step` done with a transaction, if `check` still passes then; `undo` is called where it isn't done."""
        transaction = self._open.get(found)
        if transaction is None:
            raise Refusal(UNKNOWN_ID, "The transaction is unknown, or has been discharged.")
        if len(transaction.steps) >= MOST_STEPS:
            raise Refusal(NOT_ALLOWED, f"A transaction has at most {MOST_STEPS} operations.")
        transaction.steps.append(step)
        if check is not None:
            transaction.checks.append(check)
        if undo is not None:
            transaction.undo.append(undo)

    def request(self, payload: bytes) -> bytes:
        """Declare or discharge, as a message to the coordinator asks; return its state; raise Refusal, DecodeError."""
        asked = next((decode(payload, at)[0] for code, _, at, _ in sections(payload) if code == VALUE), None)
        if not isinstance(asked, Described) or not isinstance(asked.value, list):
            raise DecodeError("a message to the coordinator is neither declare nor discharge")
        match p.code_of(asked.descriptor):
            case p.DECLARE:
                made = os.urandom(16)
                self._open[made] = _Transaction()
                return e.described(p.STATE_DECLARED, e.items([e.binary(made)]))
            case p.DISCHARGE:
                found, failed = [*asked.value, None, None][:2]
                self._discharge(found, failed=bool(failed))
                return p.ACCEPTED
        raise DecodeError("a message to the coordinator is neither declare nor discharge")

    def _discharge(self, found: Any, *, failed: bool) -> None:
        transaction = self._open.pop(found, None) if isinstance(found, bytes) else None
        if transaction is None:
            raise Refusal(UNKNOWN_ID, "The transaction is unknown, or has been discharged.")
        try:
            for check in () if failed else transaction.checks:
                check()
        except Refusal as refusal:
            self._undo(transaction)
            raise Refusal(ROLLED_BACK, f"The transaction was rolled back: {refusal.description}") from refusal
        if failed:
            self._undo(transaction)
            return
        for step in transaction.steps:
            step()

    @staticmethod
    def _undo(transaction: _Transaction) -> None:
        for step in transaction.undo:
            step()
