"""Mutants of the AWS backend, and those of them that the suite doesn't catch."""

from __future__ import annotations

from polybus.testing.mutants import Mutant, edit
from polybus.testing.mutants.editing import Patch

__all__ = ["AWS", "AWS_SURVIVORS"]

_CONSUMER = "polybus.clouds.aws.driver.consume:SqsConsumer"
_PUBLISHER = "polybus.clouds.aws.driver.publish:_Publisher"


def _m(clause: str, what: str, patch: Patch, hint: str = "") -> Mutant:
    return Mutant(clause, what, patch=patch, hint=hint, of="aws")


AWS = (
    _m(
        "D2",
        "an extension isn't asked for",
        edit(f"{_CONSUMER}.extend_batch", 'await self._batch("ChangeMessageVisibilityBatch", entries, found)', "pass"),
        "extension_moves",
    ),
    _m(
        "D2",
        "a lease is counted from the answer, and longer than was asked for",
        edit(f"{_CONSUMER}._receive", "begun, begun + visibility)", "begun, self._clock.monotonic() + visibility + 5)"),
        "as_long_as",
    ),
    _m(
        "D2",
        "what SQS says of a receipt is taken for another's",
        edit(f"{_CONSUMER}._batch", 'found[int(failure["Id"])]', "found[0]"),
        "stale",
    ),
    _m(
        "D4",
        "the delay of a nack is forgotten",
        edit(f"{_CONSUMER}._make_visible", "math.ceil(settlement.delay)", "0"),
        "not_before",
    ),
    _m(
        "D5",
        "attempts aren't counted",
        edit(f"{_CONSUMER}._received", 'int(raw["Attributes"]["ApproximateReceiveCount"])', "1"),
        "not_handled",
    ),
    _m(
        "D6",
        "moves to dead letters aren't counted",
        edit(f"{_CONSUMER}._letter", "moves=received.moves + 1", "moves=received.moves"),
        "keeps_all",
    ),
    _m(
        "D7",
        "the reason is lost",
        edit(f"{_CONSUMER}._letter", "settlement.reason, settlement.description", '"", ""'),
        "at_once",
    ),
    _m(
        "D10",
        "a delivery isn't of its group",
        edit(f"{_CONSUMER}._received", "if grouped else None", "if False else None"),
        "keeps_the_order",
    ),
    _m(
        "P5",
        "a queue's messages are told apart by their ids",
        edit(f"{_PUBLISHER}._entry", "prepared.outgoing.dedup_id", "prepared.outgoing.message.id"),
        "published_twice",
    ),
    _m(
        "P5",
        "copies of one id have one token",
        edit(f"{_CONSUMER}._received", 'raw["MessageId"],', '"",'),
        "published_twice",
    ),
    _m(
        "D1",
        "a receive doesn't wait",
        edit(f"{_CONSUMER}._wait", "min(math.ceil(wait), self._longest)", "0"),
        "waits_and_returns",
    ),
)

AWS_SURVIVORS = {
    "D2 (aws) what SQS says of a receipt is taken for another's": (
        "SQS takes receipts whose time is over, so the suite expects it to refuse none and misses no refusal"
    ),
}
"""By `str(mutant)`, with why: as `polybus.testing.mutants.SURVIVORS`."""
