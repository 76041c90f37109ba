"""What every store of claims keeps to; each clause has a number, as those of the contract."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from polybus.claims import Busy, Claim, ClaimStore, Done
from polybus.once import MemoryStore

from .servers import MISSING
from .stores import Set, opened

ROOT = Path(__file__).parents[2]
DAY = 86_400.0


@pytest.fixture
def clock() -> Set:
    return Set()


@pytest.fixture
async def store(place: tuple[str, str], clock: Set) -> AsyncIterator[ClaimStore]:
    async with opened(*place, clock=clock, retention="2d") as store:
        await store.create_tables()
        await store.create_tables()  # again, as each process of a service does
        yield store


async def claimed(store: ClaimStore, scope: str = "scope", key: str = "key", lease: float = 60.0) -> Claim:
    claim = await store.claim(scope, key, lease)
    assert isinstance(claim, Claim)
    return claim


def test_what_is_not_tested_here(say: Callable[[str], None]) -> None:
    for kind, why in MISSING.items():
        say(f"once on {kind}: not run, {why}")


class TestStore:
    async def test_n1_what_is_confirmed_is_not_done_again(self, store: ClaimStore) -> None:
        claim = await claimed(store)
        assert (claim.scope, claim.key) == ("scope", "key")
        assert await store.confirm(claim)
        assert await store.claim("scope", "key", 60.0) == Done()

    async def test_n2_of_two_at_once_one_has_it(self, store: ClaimStore) -> None:
        answers = await asyncio.gather(*(store.claim("scope", "key", 60.0) for _ in range(8)))
        [claim] = [answer for answer in answers if isinstance(answer, Claim)]
        busy = [answer for answer in answers if isinstance(answer, Busy)]
        assert len(busy) == 7
        assert [answer.seconds for answer in busy] == pytest.approx([60.0] * 7)
        assert await store.confirm(claim)

    async def test_n3_a_claim_whose_lease_is_over_is_taken_with_a_higher_token(
        self, store: ClaimStore, clock: Set
    ) -> None:
        first = await claimed(store)
        clock.ahead = 61
        second = await claimed(store)
        assert second.token > first.token
        assert isinstance(await store.claim("scope", "key", 60.0), Busy)

    async def test_n3_a_killed_owner_keeps_it_until_its_lease_is_over(
        self, place: tuple[str, str], store: ClaimStore, clock: Set
    ) -> None:
        command = [sys.executable, "-m", "tests.once.stores", *place]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
        owner = await asyncio.create_subprocess_exec(*command, cwd=ROOT, env=environment, stdout=subprocess.PIPE)
        assert owner.stdout is not None
        token = int(await owner.stdout.readline())
        owner.kill()
        await owner.wait()
        assert isinstance(await store.claim("scope", "key", 60.0), Busy)
        clock.ahead = 3_600  # the owner's own clock has run on
        assert (await claimed(store)).token > token

    async def test_n4_one_whose_claim_is_anothers_can_do_nothing_to_it(self, store: ClaimStore, clock: Set) -> None:
        first = await claimed(store)
        clock.ahead = 61
        second = await claimed(store)
        assert not await store.renew(first, 60.0)
        assert not await store.confirm(first)
        await store.release(first)
        assert isinstance(await store.claim("scope", "key", 60.0), Busy)
        assert await store.confirm(second)

    async def test_n4_a_lapsed_claim_that_nobody_took_can_still_be_confirmed(
        self, store: ClaimStore, clock: Set
    ) -> None:
        claim = await claimed(store)
        clock.ahead = 61
        assert await store.confirm(claim)

    async def test_n5_what_is_released_may_be_claimed_at_once(self, store: ClaimStore) -> None:
        first = await claimed(store)
        await store.release(first)
        second = await claimed(store)
        assert second.token > first.token
        assert not await store.confirm(first)

    async def test_n5_what_is_released_is_free_however_its_time_is_rounded(self, store: ClaimStore, clock: Set) -> None:
        clock.ahead = 0.9999996 - clock.time() % 1  # rounded to a microsecond it is later
        await store.release(await claimed(store))
        await claimed(store)

    async def test_n7_keys_are_kept_for_the_retention_and_are_new_after_it(self, store: ClaimStore, clock: Set) -> None:
        await store.confirm(await claimed(store))
        clock.ahead = 1.9 * DAY
        assert await store.claim("scope", "key", 60.0) == Done()
        clock.ahead = 2.1 * DAY
        assert await store.confirm(await claimed(store))
        assert await store.claim("scope", "key", 60.0) == Done()

    async def test_n7_a_purge_deletes_only_what_is_not_kept_any_more(
        self, place: tuple[str, str], store: ClaimStore, clock: Set
    ) -> None:
        await store.confirm(await claimed(store, key="old"))
        await claimed(store, key="lapsed")
        released = await claimed(store, key="released")
        await store.release(released)
        assert await store.purge() == 0
        assert (await claimed(store, key="released")).token > released.token
        clock.ahead = 1.5 * DAY
        await store.confirm(await claimed(store, key="new"))
        clock.ahead = 2.1 * DAY
        by_itself = place[0] in ("redis", "dynamodb")
        assert await store.purge() == (0 if by_itself else 3)
        assert await store.claim("scope", "new", 60.0) == Done()

    async def test_n8_a_renewed_claim_lasts(self, store: ClaimStore, clock: Set) -> None:
        claim = await claimed(store)
        clock.ahead = 50
        assert await store.renew(claim, 60.0)
        clock.ahead = 100
        assert isinstance(await store.claim("scope", "key", 60.0), Busy)
        clock.ahead = 111
        assert isinstance(await store.claim("scope", "key", 60.0), Claim)

    async def test_n9_scopes_share_no_keys(self, store: ClaimStore) -> None:
        await store.confirm(await claimed(store, "scope", "key"))
        for scope, key in (("other", "key"), ("scope:", "key"), ("scop", "e:key"), ("scope", "Key"), ("scope", "ключ")):
            await claimed(store, scope, key)


class TestMemoryStore(TestStore):
    """The store for tests, held to the same; it has no owner that could be killed alone."""

    @pytest.fixture
    def place(self) -> tuple[str, str]:
        return "memory", ""

    @pytest.fixture
    async def store(self, clock: Set) -> ClaimStore:
        return MemoryStore(retention="2d", clock=clock)

    async def test_n3_a_killed_owner_keeps_it_until_its_lease_is_over(  # type: ignore[override]
        self, store: ClaimStore
    ) -> None:
        assert await MemoryStore().claim("scope", "key", 60.0) == await store.claim("scope", "key", 60.0)
