"""The rig of a real AWS account; see live.py."""

from __future__ import annotations

from typing import Any

import msgspec

from polybus.binding import Binding
from polybus.clouds.aws.plan.resources import AwsSettings, binding, plan
from polybus.topology.model import Topology

from .account_aws import open_account
from .rig_aws import AwsRig
from .rig_live import Live


class LiveRig(Live, AwsRig):
    account = staticmethod(open_account)

    def make(self, topology: Topology) -> Binding:
        region = self.stay.account.session.region_name
        planned = plan(topology, AwsSettings(stack=self.stay.run.stack, region=region))
        made = binding(planned, self.stay.realise(planned.resources))
        # validate and long_poll: as on the local server; a second is the shortest poll that asks all of SQS's servers.
        return msgspec.structs.replace(made, settings={**made.settings, "validate": True, "long_poll": 1})

    def client(self, service: str) -> Any:
        return self.stay.account.session.client(service)
