"""The suite on the backend in memory: the contract's executable definition."""

from polybus.testing.conformance import Conformance
from polybus.testing.rigs.memory import MemoryRig


class TestMemory(Conformance):
    rig = MemoryRig
