"""Rigs of the AWS and Google backends that reach the local servers as the clouds are reached: over TLS."""

from __future__ import annotations

import asyncio
import os
from typing import Any
from unittest.mock import patch

import boto3
import grpc
import msgspec
from google.auth.credentials import AnonymousCredentials

from polybus.binding import Binding
from polybus.clouds.aws.local import realise as realise_aws
from polybus.clouds.aws.plan.resources import AwsSettings
from polybus.clouds.aws.plan.resources import plan as plan_aws
from polybus.clouds.gcp.local import realise as realise_gcp
from polybus.localcloud.aws.server import AwsServer
from polybus.localcloud.pubsub.server import PubsubServer
from polybus.localcloud.server import ThreadedServer
from polybus.topology.model import Topology

from .rig_aws import CREDENTIALS, AwsRig
from .rig_gcp import LOOK, PROJECT, GcpRig


class AwsOverTls(AwsRig):
    async def realise(self, topology: Topology) -> Binding:
        os.environ.update(CREDENTIALS)
        server = AwsServer(clock=self.clock, tls=True)
        self._server = ThreadedServer(server)
        self._server.start()
        self._endpoint = server.url
        self._trust = str(server.certificate)
        os.environ["AWS_CA_BUNDLE"] = self._trust
        planned = plan_aws(topology, AwsSettings(region="us-east-1"))
        made = await asyncio.to_thread(realise_aws, planned, endpoint=server.url, ca_file=server.certificate)
        chosen = {"validate": True, "long_poll": 1, "client": self.client_setting, "endpoint": server.url}
        return msgspec.structs.replace(made, settings={**made.settings, **chosen})

    def client(self, service: str) -> Any:
        return boto3.client(service, endpoint_url=self._endpoint, verify=self._trust)

    async def drop(self) -> None:
        os.environ.pop("AWS_CA_BUNDLE", None)
        await super().drop()


class GcpOverTls(GcpRig):
    """By the way that leads to Google: an endpoint with TLS, and credentials on every call."""

    async def realise(self, topology: Topology) -> Binding:
        server = PubsubServer(clock=self.clock, project=PROJECT, tls=True)
        self._server = ThreadedServer(server)
        self._server.start()
        self._identity = patch("google.auth.default", lambda **_: (AnonymousCredentials(), PROJECT))
        self._identity.start()
        os.environ.pop("PUBSUB_EMULATOR_HOST", None)
        endpoint, ca_file = f"{server.host}:{server.tls_port}", server.certificate
        assert ca_file is not None
        self._channel = grpc.secure_channel(endpoint, grpc.ssl_channel_credentials(ca_file.read_bytes()))
        made = await asyncio.to_thread(
            realise_gcp, self.plan(topology), endpoint=endpoint, project=PROJECT, ca_file=ca_file
        )
        way = {"api_endpoint": endpoint, "ca_file": str(ca_file), "look": LOOK}
        return msgspec.structs.replace(made, settings={**made.settings, **way})

    async def drop(self) -> None:
        self._identity.stop()
        await super().drop()
