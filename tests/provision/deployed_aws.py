"""The stack's program, deployed to a local AWS server through Pulumi's SDK."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

import boto3

import polybus
from polybus.bus.bus import Bus
from polybus.clouds.aws.local import Realiser
from polybus.localcloud.aws.server import AwsServer
from polybus.localcloud.server import running_in_thread

from . import runner

REGION = "eu-west-1"


@dataclass(frozen=True)
class Deployed:
    server: AwsServer
    run: runner.Run

    @property
    def policies(self) -> dict[str, Mapping[str, Any]]:
        """Each service's IAM policy, as the stack exports it."""
        return {service: json.loads(text) for service, text in self.run.outputs["policies"].items()}

    def binding(self) -> str:
        """The exported binding as JSON, with two of the backend's settings for tests.

        botocore checks every request, and long polls are short: a drain waits for one that is under way.
        """
        exported = json.loads(runner.stack_output(self.run))
        exported["settings"] |= {"validate": True, "long_poll": 1}
        return json.dumps(exported)

    def environment(self, access_key: str) -> Any:
        return mock.patch.dict(os.environ, {**self.server.env(), "AWS_ACCESS_KEY_ID": access_key})

    @asynccontextmanager
    async def bus(self, service: str, access_key: str = "owner") -> AsyncIterator[Bus]:
        """Connect as a service does: by the binding, with credentials from the environment."""
        # For as long as the bus is open: boto3 reads the environment when a client is made, which may be at any call.
        with self.environment(access_key):
            async with polybus.connect(self.binding(), service=service) as bus:
                for name in ("orders", "thumbnails"):  # before another bus of the same test changes it
                    bus.raw(name)
                yield bus

    def client(self, service: str, access_key: str = "owner") -> Any:
        """Return boto3's client of SNS or SQS with an access key."""
        with self.environment(access_key):
            return boto3.Session(region_name=REGION).client(service)


@contextmanager
def deploy(stack: str = "aws-dev") -> Iterator[Deployed]:
    """Start a server, and make on it each resource from exactly what Pulumi received."""
    with running_in_thread(AwsServer(region=REGION)) as server:
        realiser = Realiser(endpoint=server.url, region=REGION)
        try:
            run = runner.run_stack(stack, realiser.create, look=lambda token, given: realiser.create(token, "", given))
        finally:
            realiser.close()
        yield Deployed(server, run)
