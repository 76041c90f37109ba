"""Base classes for backends: what every small driver would write again.

A driver needs none of them: `polybus.driver` is what the bus asks for, and what overrides one of these may do all by
itself. They take the parts that differ between systems, as lists in and answers out, and make the rest of it:

- `BaseDriver`: a table of what the SDK's errors mean, and what operators do, with defaults.
- `BasePublisher`: checks what is the same everywhere, and the size, before `encode`.
- `BaseConsumer`: settlements by kind, leases as seconds, and dead letters for a system that has none.
- `PollingConsumer`: the receive loop of a system that can only be asked what is there now.
"""

from __future__ import annotations

from polybus.backend.consumer import BaseConsumer
from polybus.backend.driver import BaseDriver
from polybus.backend.letters import Letter
from polybus.backend.polled import Polled
from polybus.backend.polling import PollingConsumer
from polybus.backend.publisher import BasePublisher

__all__ = ["BaseConsumer", "BaseDriver", "BasePublisher", "Letter", "Polled", "PollingConsumer"]
