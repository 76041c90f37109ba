"""Message ids are random UUIDs, as the standard library would make them."""

from __future__ import annotations

import uuid

from polybus.bus.outgoing import new_id


def test_ids_are_random_uuids() -> None:
    made = [new_id() for _ in range(2_000)]
    assert len(set(made)) == len(made)
    for text in made:
        parsed = uuid.UUID(text)
        assert (str(parsed), parsed.version, parsed.variant) == (text, 4, uuid.RFC_4122)
    # Every bit that isn't fixed takes both values: 122 of 128.
    numbers = [uuid.UUID(text).int for text in made]
    changing = 0
    for number in numbers:
        changing |= number ^ numbers[0]
    assert changing.bit_count() == 122
