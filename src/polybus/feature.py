"""What a backend can do with one entity."""

from __future__ import annotations

from enum import Flag, auto

__all__ = ["Feature"]


class Feature(Flag):
    """Abilities that differ between backends, or between the entities of one.

    What is missing here is refused (UnsupportedFeature) when it is asked for, or met by the bus where the contract
    says so (NACK_DELAY, D4). Publishing, leases, settling, dead letters and redrive are no features: every backend
    has them.
    """

    NONE = 0
    ORDERING = auto()  # ordering keys are kept (P6, D10)
    DELAY = auto()  # a message can be published to be delivered later (P8)
    NACK_DELAY = auto()  # a message can be given back with a delay that the cloud keeps (D4)
    PEEK = auto()  # messages can be looked at without receiving them (`tail`, `dead-letter list`)
    COUNTS = auto()  # the number of waiting messages is known (`stats`)
    AGE = auto()  # the age of the oldest waiting message is known (`stats`)
    EXACTLY_ONCE = auto()  # what was acked never comes again, not as the second copy of one publish either
    CONSISTENT = auto()  # a receive that doesn't wait finds whatever is there
    GROUP_LEASE = auto()  # the lease is one for all deliveries of an ordering group (Service Bus sessions)
    ATTEMPTS = auto()  # a message that is given back takes along how many attempts were made of it (D5)
    FAIRNESS = auto()  # no value of the fairness key waits behind all that waits of another (L7)
