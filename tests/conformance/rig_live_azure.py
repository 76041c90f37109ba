"""The rig of a real Service Bus namespace, which has to be there; see live.py."""

from __future__ import annotations

import os

import msgspec
from azure.identity.aio import DefaultAzureCredential
from azure.servicebus.aio import ServiceBusClient

from polybus.binding import Binding
from polybus.clouds.azure.driver.clients import connection_string
from polybus.clouds.azure.plan.resources import AzureSettings, binding, plan
from polybus.topology.model import Topology

from .account_azure import open_account
from .rig_azure import AzureRig
from .rig_live import Live

# A Standard namespace: a Premium one takes the same entities, and larger messages than the suite sends.
NAMESPACE = "conformance"


class LiveRig(Live, AzureRig):
    account = staticmethod(open_account)
    _credential: DefaultAzureCredential | None = None

    def make(self, topology: Topology) -> Binding:
        """Make what is in the namespace; the plan's own namespace and group are only noted."""
        settings = AzureSettings(stack=self.stay.run.stack, namespace=NAMESPACE, resource_group=NAMESPACE)
        planned = plan(topology, settings)
        made = binding(planned, self.stay.realise(planned.resources))
        return msgspec.structs.replace(made, settings={**made.settings, "namespace": self.stay.account.host})

    def client(self) -> ServiceBusClient:
        local = connection_string(os.environ)
        if local is not None:
            return ServiceBusClient.from_connection_string(local)
        self._credential = self._credential or DefaultAzureCredential()
        return ServiceBusClient(self.stay.account.host, self._credential)

    async def drop(self) -> None:
        if self._credential is not None:
            await self._credential.close()
        await super().drop()
