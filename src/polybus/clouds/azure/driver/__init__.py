"""Azure Service Bus, over azure-servicebus.

Topics, subscriptions and queues are Service Bus's own, and their dead letters are the sub-queues that it has for them.
Ordered ones have sessions. The binding's settings name the namespace's host; credentials come from wherever
azure-identity's DefaultAzureCredential finds them. Local servers are reached by a connection string in the environment.
"""

from __future__ import annotations

from polybus.clouds.azure.driver.driver import driver

__all__ = ["driver"]
