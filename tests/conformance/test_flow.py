"""Batches and flow on each backend, and whether their tests see what is broken."""

from __future__ import annotations

import pytest

from polybus.testing.conformance.flow import Flow
from polybus.testing.environment import Environment
from polybus.testing.mutants import Mutant, edit
from polybus.testing.rigs import MemoryRig, SqliteRig

from .live import choose
from .rig_aws import AwsRig
from .rig_azure import AzureRig
from .rig_gcp import GcpRig

_BATCH = "polybus.app.batch:BatchInvoker"
_RECEIVER = "polybus.bus.receiver:Receiver"


class TestMemory(Flow):
    rig = MemoryRig


class TestSqlite(Flow):
    rig = SqliteRig


class TestAws(Flow):
    rig = choose("aws", AwsRig)


class TestAzure(Flow):
    rig = choose("azure", AzureRig)


class TestGcp(Flow):
    rig = choose("gcp", GcpRig)


MUTANTS = (
    Mutant(
        "L1",
        "one failed message fails all",
        patch=edit(f"{_BATCH}._failed", "failed[item] = own", "failed.update(dict.fromkeys(items, own))"),
    ),
    Mutant("L1", "none fails", patch=edit(f"{_BATCH}._failed", "failed[item] = own", "pass")),
    Mutant(
        "L2",
        "a failed message lets the next of its key pass",
        patch=edit(
            "polybus.bus.held:HeldDelivery.fail_soon",
            "self._owner.retry_soon(self, self._wait(failed))",
            "self._owner.settler.soon(self, Ack(self.received))",
        ),
    ),
    Mutant("L3", "what is gathered is kept", patch=edit(f"{_BATCH}.let_go", "item.held.cancel()", "pass")),
    Mutant(
        "L4",
        "an open breaker keeps what it has",
        patch=edit(f"{_RECEIVER}.pause", "while self._ready.queue:", "while False:"),
    ),
    Mutant("L4", "it never opens", patch=edit("polybus.app.circuit:Circuit._ended", "failures >=", "failures < 0 and")),
    Mutant(
        "L5",
        "a limit is asked, and not kept",
        patch=edit("polybus.bus.intake:Intake._allowed", "min(count, self._room())", "self._room()"),
    ),
    Mutant(
        "L6",
        "what comes while it is paused is handed out",
        patch=edit(f"{_RECEIVER}.pause", "while self._ready.queue:", "while False:"),
    ),
    Mutant("L6", "a pause never ends", patch=edit(f"{_RECEIVER}.resume", "self._paused = None", "pass")),
    Mutant(
        "L7",
        "all tenants are one",
        patch=edit("polybus.embedded.memory.source:_line", "entity.fairness_key is None", "True"),
    ),
    Mutant(
        "L7",
        "who has more is first again",
        patch=edit("polybus.embedded.memory.lines:FairLine.take", "ring.append(tenant)", "ring.appendleft(tenant)"),
    ),
    Mutant(
        "L7",
        "tenants have no turns",
        of="sqlite",
        patch=edit("polybus.embedded.sqlite.claim:Claim._fair", "chosen[-1].group + _NEXT", '""'),
    ),
    Mutant(
        "L7",
        "whose it is isn't kept",
        of="sqlite",
        patch=edit("polybus.embedded.sqlite.publish:_Rows._add", "source.fairness_key is not None", "False"),
    ),
    Mutant(
        "L7",
        "no group is sent",
        of="aws",
        patch=edit(
            "polybus.clouds.aws.driver.publish:_Publisher._entry", "self._target.fairness_key is not None", "False"
        ),
    ),
)


_GATE = "polybus.app.gate"
MUTANTS += (
    Mutant("L8", "priorities say nothing", patch=edit(f"{_GATE}:Slots._next", "else gate.priority", "else 0")),
    Mutant(
        "L8", "who has less is first", patch=edit(f"{_GATE}:Slots._next", "else gate.priority", "else -gate.priority")
    ),
    Mutant("L8", "there is room for all", patch=edit(f"{_GATE}:Slots.take", "self.running >= self.calls", "False")),
    Mutant(
        "L9", "any of a key run", patch=edit(f"{_GATE}:Gate._enter", "there.running >= self._per_key.most", "False")
    ),
    Mutant(
        "L9",
        "any number waits",
        patch=edit(f"{_GATE}:Gate._allowed", "self._behind >= self._per_key.waiting", "False"),
    ),
    Mutant(
        "L9",
        "who waits for its key is forgotten",
        patch=edit(f"{_GATE}:Gate._free", "self.ready.append(following)", "pass"),
    ),
)


class _Impatient(MemoryRig):
    patience = 2.0


class _ImpatientFile(SqliteRig):
    patience = 2.0


class _ImpatientAws(AwsRig):
    patience = 4.0


_RIGS = {"sqlite": _ImpatientFile, "aws": _ImpatientAws}


@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
async def test_what_is_broken_is_seen(mutant: Mutant) -> None:
    [name] = [name for name in dir(Flow) if name.startswith(f"test_{mutant.clause}_")]
    with mutant.patch():
        async with Environment(_RIGS.get(mutant.of or "", _Impatient)()) as env:
            with pytest.raises(BaseException):  # noqa: B017, PT011 - however the broken bus shows itself
                await getattr(Flow, name)(Flow(), env)
