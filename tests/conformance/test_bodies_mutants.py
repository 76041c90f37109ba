"""The tests of bodies elsewhere and of sealed ones catch what breaks them, clause by clause."""

from __future__ import annotations

import pytest

from polybus.testing.environment import Environment
from polybus.testing.mutants.editing import Patch, edit
from polybus.testing.rigs import MemoryRig

from .test_bodies import Bodies

# Real seconds for what never comes: memory answers within milliseconds.
PATIENCE = 1.0
BLOBS = "polybus.blobs.middleware:Blobs"
ENCRYPTION = "polybus.encryption.middleware:Encryption"
STORE = "polybus.blobs.store:Store"

MUTANTS: dict[str, tuple[str, Patch]] = {
    "leaves what is over the limit in its message": (
        "B1",
        edit(f"{BLOBS}.offload", "size <= self._over", "size <= 1_000_000"),
    ),
    "stores what fits": ("B1", edit(f"{BLOBS}.offload", "size <= self._over", "size < 1")),
    "forgets the content type": (
        "B1",
        edit(f"{BLOBS}.fetch", "content_type=blob.type or None", "content_type=None"),
    ),
    "has the whole body in the message as well": (
        "B1",
        edit(f"{BLOBS}.offload", "body=blob.to_body()", "body=blob.to_body() + message.body"),
    ),
    "believes the hash": ("B2", edit(f"{STORE}.iter", "found.hexdigest() != blob.sha256", "False")),
    "takes references to other buses' objects": (
        "B3",
        edit("polybus.blobs.blob:Blob.check", "start != prefix or", ""),
    ),
    "deletes what was read": (
        "B4",
        edit(
            f"{BLOBS}.fetch",
            "body = await self.store.read(blob)",
            "body = await self.store.read(blob); await self.sweep(-1.0)",
        ),
    ),
    "publishes what it couldn't store": (
        "B5",
        edit(f"{BLOBS}.offload", "raise PublishFailed((error.fault,)) from None", "return message"),
    ),
    "buries what it can't fetch at once": (
        "B5",
        edit(
            f"{STORE}._faults",
            'raise self._fault(FaultKind.NOT_FOUND, "it isn\'t there: it expired, was deleted, or is elsewhere")',
            'raise BlobRefused("gone")',
        ),
    ),
    "hands a blob over unverified": ("B6", edit(f"{STORE}.iter", "found.hexdigest() != blob.sha256", "False")),
    "leaves all attributes in clear": ("B7", edit(f"{ENCRYPTION}.seal", "attributes=clear", "attributes=hidden")),
    "forgets the sealed attributes": (
        "B7",
        edit(f"{ENCRYPTION}.open", "{**message.attributes, **hidden}", "message.attributes"),
    ),
    "takes what isn't sealed": ("B7", edit(f"{ENCRYPTION}.open", "if self._plain", "if True")),
    "retries for ever what it has no key for": ("B7", edit(f"{ENCRYPTION}.open", "except KeyError", "except OSError")),
    "stores before it seals": (
        "B7",
        edit(
            f"{BLOBS}.offload",
            "blob = await self.store.put(message.body, message.content_type)",
            "blob = await self.store.put((await self._opened_again(message)).body)",
        ),
    ),
}


async def _opened_again(self: object, message: object) -> object:
    return await self._encryption.open(message) if self._encryption is not None else message  # type: ignore[attr-defined]


async def caught(clause: str) -> str | None:
    """Run the tests of a clause; return the first that fails, None where all pass."""
    rig = MemoryRig()
    rig.patience = PATIENCE
    async with Environment(rig) as env:
        for name in sorted(dir(Bodies)):
            if name.startswith(f"test_{clause}_"):
                try:
                    await getattr(Bodies(), name)(env)
                except (Exception, pytest.fail.Exception) as error:  # noqa: BLE001 - whatever shows it
                    return f"{name}: {error!r}"
    return None


@pytest.mark.parametrize("what", MUTANTS)
async def test_the_tests_catch(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    clause, patch = MUTANTS[what]
    monkeypatch.setattr("polybus.blobs.middleware.Blobs._opened_again", _opened_again, raising=False)
    with patch():
        assert await caught(clause), f"{clause}: all tests passed where it {what}"


def test_every_clause_has_a_mutant() -> None:
    clauses = {name.split("_")[1] for name in dir(Bodies) if name.startswith("test_")}
    assert {clause for clause, _ in MUTANTS.values()} == clauses
