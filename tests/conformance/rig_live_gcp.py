"""The rig of a real Google project; see live.py."""

from __future__ import annotations

from google.pubsub_v1 import PublisherClient, SubscriberClient

from polybus.binding import Binding
from polybus.clouds.gcp.plan.resources import GcpSettings, binding, plan
from polybus.topology.model import Topology

from .account_gcp import open_account
from .rig_gcp import GcpRig
from .rig_live import Live


class LiveRig(Live, GcpRig):
    account = staticmethod(open_account)

    def make(self, topology: Topology) -> Binding:
        account = self.stay.account
        settings = GcpSettings(stack=self.stay.run.stack, project=account.project, project_number=account.number)
        planned = plan(topology, settings)
        return binding(planned, self.stay.realise(planned.resources))

    def publisher(self) -> PublisherClient:
        publisher: PublisherClient = self.stay.account.publisher
        return publisher

    def subscriber(self) -> SubscriberClient:
        subscriber: SubscriberClient = self.stay.account.subscriber
        return subscriber
