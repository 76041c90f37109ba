"""The driver-level part of the suite: what the bus, that stands before a driver, would hide."""

from __future__ import annotations

from polybus.testing.conformance.driver_leases import DriverLeases
from polybus.testing.conformance.driver_letters import DriverLetters
from polybus.testing.conformance.driver_operating import DriverOperating
from polybus.testing.conformance.driver_order import DriverOrder
from polybus.testing.conformance.driver_receiving import DriverReceiving

__all__ = ["DriverSuite"]


class DriverSuite(DriverLeases, DriverOrder, DriverLetters, DriverReceiving, DriverOperating):
    """What a driver owes (polybus.driver), asked of it without a bus in between.

    The bus never sends a receipt that its own clock calls lost, keeps order by itself where one consumer has a key, and
    never looks at what operators do; so a backend that is wrong in these passes all the rest of the suite.
    """
