"""The bus for code that blocks.

    with polybus.sync.connect() as bus:
        bus.publish("orders", order)
        with bus.consume("billing") as deliveries:
            for delivery in deliveries:
                with delivery:                  # leaves cleanly: ack; raises: nack
                    ...

One thread, the portal, runs the asynchronous bus and keeps the leases; all calls may come from any thread. Nothing
interrupts running code: when a lease is lost, `delivery.lost` is set, and the ack raises LeaseLost.
"""

from polybus.sync.bus import SyncBus, SyncDeadLetters, connect, over
from polybus.sync.consume import SyncConsumption, SyncDelivery

__all__ = ["SyncBus", "SyncConsumption", "SyncDeadLetters", "SyncDelivery", "connect", "over"]
