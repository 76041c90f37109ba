"""Messages that leave with a database transaction, or at a time that is far off.

outbox = Outbox()

async with Session() as session, session.begin():
    session.add(order)
    await outbox.publish(session, "orders", {"id": order.id}, ordering_key=order.customer)

async with polybus.connect() as bus, outbox.relay(bus, engine):
    ...  # or `polybus run --outbox URL`: sends what was committed
"""

from __future__ import annotations

from polybus.outbox.outbox import Outbox
from polybus.outbox.relay import Relay
from polybus.outbox.sql import ddl

__all__ = ["Outbox", "Relay", "ddl"]
