"""The conformance suite: what every backend keeps, clause by clause.

A backend proves itself with a rig and one class (docs/write-a-backend.md):

    from polybus.testing.conformance import Conformance

    class TestAcme(Conformance):
        rig = AcmeRig

One class inherits all themes, so that the topology is realised once. Each test's name carries its clause:
`pytest -k D12_` runs those of D12.
"""

from __future__ import annotations

from polybus.testing.conformance.bounds import Bounds
from polybus.testing.conformance.calling import Calling
from polybus.testing.conformance.dead_letters import DeadLetters
from polybus.testing.conformance.delays import Delays
from polybus.testing.conformance.delivering import Delivering
from polybus.testing.conformance.draining import Draining
from polybus.testing.conformance.drivers import DriverSuite
from polybus.testing.conformance.foreign import Foreign
from polybus.testing.conformance.leases import Leases
from polybus.testing.conformance.limits import Limits
from polybus.testing.conformance.ordering import Ordering
from polybus.testing.conformance.pauses import Pauses
from polybus.testing.conformance.publishing import Publishing
from polybus.testing.conformance.redriving import Redriving
from polybus.testing.conformance.retrying import Retrying
from polybus.testing.conformance.suite import Suite
from polybus.testing.rig import BaseRig, Late, Refusal, Rig, may_refuse

__all__ = [
    "BaseRig",
    "Bounds",
    "Calling",
    "Conformance",
    "DeadLetters",
    "Delays",
    "Delivering",
    "Draining",
    "DriverSuite",
    "Foreign",
    "Late",
    "Leases",
    "Limits",
    "Ordering",
    "Pauses",
    "Publishing",
    "Redriving",
    "Refusal",
    "Retrying",
    "Rig",
    "Suite",
    "may_refuse",
]


class Conformance(
    Publishing,
    Limits,
    Retrying,
    Ordering,
    Calling,
    Delays,
    Delivering,
    Leases,
    Pauses,
    Bounds,
    DeadLetters,
    Draining,
    Redriving,
    Foreign,
    DriverSuite,
):
    """The whole suite."""
