"""The suite on the two embedded backends; memory is the contract's executable definition."""

from polybus.testing.conformance import Conformance
from polybus.testing.rigs import MemoryRig, SqliteRig


class TestMemory(Conformance):
    rig = MemoryRig


class TestSqlite(Conformance):
    rig = SqliteRig
