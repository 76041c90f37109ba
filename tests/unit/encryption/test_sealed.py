"""Sealed messages: who has the key reads them as they were, and nobody else reads or changes anything."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polybus.blobs.blob import REFERENCE
from polybus.encryption.middleware import Encryption
from polybus.encryption.sealed import SEALED, DecryptionFailed
from polybus.errors import ConfigError
from polybus.message import Message

RING = {"k1": bytes(range(32)), "k2": bytes(range(1, 33))}
ID = "0b6f2a4e-8d65-4c1b-9f0e-6f3f3c9d1a77"
SECRET = b"the price is 12"

names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.-]{0,20}", fullmatch=True)
messages = st.builds(
    Message,
    body=st.binary(max_size=300),
    attributes=st.dictionaries(names, st.text(max_size=20), max_size=5),
    ordering_key=st.none() | st.just("c7"),
    id=st.just(ID),
    content_type=st.none() | st.text(st.characters(codec="utf-8"), max_size=20),
)


def encryption(
    current: str = "k1",
    *,
    ring: Mapping[str, bytes] = RING,
    context: str = "shop",
    clear: tuple[str, ...] = ("region",),
    plain: bool = False,
) -> Encryption:
    return Encryption(ring.__getitem__, current, context=context, clear=clear, plain=plain)


def order(**attributes: str) -> Message:
    return Message(SECRET, attributes, "c7", ID, None, "application/json")


async def refused(message: Message, by: Encryption | None = None) -> str:
    with pytest.raises(DecryptionFailed) as found:
        await (by or encryption()).open(message)
    assert found.value.reason == "DecryptionFailed"
    return found.value.description


@given(messages)
async def test_whatever_was_sealed_is_opened_as_it_was(message: Message) -> None:
    sealed = await encryption().seal(message)
    assert (sealed.id, sealed.ordering_key, sealed.content_type) == (message.id, message.ordering_key, SEALED)
    opened = await encryption().open(sealed)
    assert opened == msgspec.structs.replace(message, attributes=dict(message.attributes))


async def test_only_what_is_named_stays_in_clear() -> None:
    sealed = await encryption().seal(order(region="eu", customer="seven", traceparent="00-1"))
    assert sealed.attributes == {"region": "eu", "traceparent": "00-1"}
    for secret in (SECRET, b"seven", b"customer", b"application/json"):
        assert secret not in sealed.body


@given(place=st.integers(min_value=0, max_value=10_000), bit=st.integers(min_value=0, max_value=7))
async def test_a_body_with_any_bit_changed_is_refused(place: int, bit: int) -> None:
    sealed = await encryption().seal(order(region="eu"))
    changed = bytearray(sealed.body)
    changed[place % len(changed)] ^= 1 << bit
    await refused(msgspec.structs.replace(sealed, body=bytes(changed)))


@given(length=st.integers(min_value=0, max_value=10_000), more=st.binary(max_size=20))
async def test_a_body_that_was_cut_or_lengthened_is_refused(length: int, more: bytes) -> None:
    sealed = await encryption().seal(order(region="eu"))
    changed = sealed.body[: length % len(sealed.body)] + more
    if changed != sealed.body:
        await refused(msgspec.structs.replace(sealed, body=changed))


@given(body=st.binary(max_size=200))
async def test_any_bytes_at_all_are_refused(body: bytes) -> None:
    await refused(Message(body, {}, None, ID, None, SEALED))


@given(attributes=st.dictionaries(st.sampled_from(["region", "tier"]), st.text(max_size=5)))
async def test_attributes_in_clear_can_be_read_and_not_changed(attributes: dict[str, str]) -> None:
    both = encryption(clear=("region", "tier"))
    sealed = await both.seal(order(region="eu"))
    changed = msgspec.structs.replace(sealed, attributes=attributes)
    if attributes == {"region": "eu"}:
        assert (await both.open(changed)).body == SECRET
    else:
        await refused(changed, both)


async def test_it_belongs_to_one_message_of_one_bus() -> None:
    sealed = await encryption().seal(order())
    await refused(msgspec.structs.replace(sealed, id="another"))
    await refused(sealed, encryption(context="bank"))


async def test_a_trace_may_go_on_and_what_others_add_comes_as_it_is() -> None:
    """A cloud, or a tracer on the way, adds attributes; none of them hides one that was sealed."""
    sealed = await encryption().seal(order(customer="seven", traceparent="00-1"))
    passed = {"traceparent": "00-2", "googclient_x": "1", "customer": "eight"}
    opened = await encryption().open(msgspec.structs.replace(sealed, attributes=passed))
    assert opened.attributes == {"traceparent": "00-2", "googclient_x": "1", "customer": "seven"}


async def test_keys_are_rotated_with_old_messages_under_way() -> None:
    old = await encryption("k1").seal(order())
    new = await encryption("k2").seal(order())
    assert (await encryption("k2").open(old)).body == SECRET
    assert (await encryption("k1").open(new)).body == SECRET
    assert "'k1'" in await refused(old, encryption("k2", ring={"k2": RING["k2"]}))


async def test_a_key_under_another_s_id_opens_nothing() -> None:
    sealed = await encryption().seal(order())
    await refused(sealed, encryption(ring={"k1": RING["k2"]}))


async def test_keys_may_be_fetched_and_their_loss_is_no_verdict() -> None:
    """Where the key service is down the message is tried again: that it can't be opened is not known."""

    async def keys(key_id: str) -> bytes:
        return RING[key_id]

    fetched = Encryption(keys, lambda: "k2", context="shop")
    sealed = await fetched.seal(order())
    assert (await fetched.open(sealed)).body == SECRET

    def down(key_id: str) -> bytes:
        raise ConnectionError("no answer")

    with pytest.raises(ConnectionError):
        await Encryption(down, "k1", context="shop").open(sealed)


async def test_the_same_message_twice_is_sealed_in_two_ways() -> None:
    first, second = await encryption().seal(order()), await encryption().seal(order())
    assert first.body != second.body


async def test_what_isn_t_sealed_is_refused_unless_it_is_taken() -> None:
    assert "isn't sealed" in await refused(order())
    assert await encryption(plain=True).open(order()) == order()


async def test_a_message_without_an_id_gets_one() -> None:
    sealed = await encryption().seal(Message(SECRET))
    assert sealed.id
    assert (await encryption().open(sealed)).body == SECRET


async def test_what_is_stored_unsealed_is_told_where_it_is_made() -> None:
    reference = Message(b"{}", {}, None, ID, None, REFERENCE)
    with pytest.raises(ConfigError, match="encryption="):
        await encryption().seal(reference)
    assert "encryption=" in await refused(reference)


@pytest.mark.parametrize("key", [b"", bytes(16), bytes(33)], ids=len)
async def test_a_key_of_another_length_is_refused(key: bytes) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        await encryption(ring={"k1": key}).seal(order())


@pytest.mark.parametrize("key_id", ["", "two words", "ü", "x" * 2049])
async def test_an_id_that_can_t_travel_is_refused(key_id: str) -> None:
    with pytest.raises(ValueError, match="key id"):
        await encryption(key_id, ring={key_id: RING["k1"]}).seal(order())
