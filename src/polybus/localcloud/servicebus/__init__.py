"""A local Azure Service Bus: AMQP 1.0 and the management API, for the unmodified azure-servicebus library."""

from __future__ import annotations

from polybus.localcloud.servicebus.entities.options import Counts, QueueOptions, SubscriptionOptions, TopicOptions
from polybus.localcloud.servicebus.rules.rule import CorrelationFilter, Rule, SqlFilter
from polybus.localcloud.servicebus.server import ServiceBusServer

__all__ = [
    "CorrelationFilter",
    "Counts",
    "QueueOptions",
    "Rule",
    "ServiceBusServer",
    "SqlFilter",
    "SubscriptionOptions",
    "TopicOptions",
]
