"""The local AWS server: life cycle and address."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from aiohttp import web

from polybus.clock import Clock, SystemClock
from polybus.localcloud.aws.faults import Faults
from polybus.localcloud.aws.http import MAX_REQUEST, Front
from polybus.localcloud.aws.policy.identities import Identities
from polybus.localcloud.aws.remembered.cloudwatch import CloudWatchService
from polybus.localcloud.aws.remembered.iam import IamService
from polybus.localcloud.aws.remembered.kms import KmsService
from polybus.localcloud.aws.remembered.lambdas import LambdaService
from polybus.localcloud.aws.remembered.logs import LogsService
from polybus.localcloud.aws.remembered.ssm import SsmService
from polybus.localcloud.aws.rows import Rows
from polybus.localcloud.aws.services import Service
from polybus.localcloud.aws.sns.service import SnsService
from polybus.localcloud.aws.sqs.registry import Queues
from polybus.localcloud.aws.sqs.sampling import Sampler
from polybus.localcloud.aws.sqs.service import SqsService
from polybus.localcloud.aws.steering import AwsSteering
from polybus.localcloud.aws.sts import StsService
from polybus.localcloud.aws.timeline import Timeline
from polybus.localcloud.certificate import Certificate
from polybus.localcloud.journal import Journal
from polybus.localcloud.server import LOOPBACK
from polybus.localcloud.store import Store

__all__ = ["AwsServer"]


class AwsServer:
    """SNS, SQS and STS's GetCallerIdentity on one loopback port; and what a stack has beside them, remembered.

    `data` is a folder that outlives restarts (None: memory only); `account` has 12 digits; `region` is the one that
    `env` names, every other is served too. Identity policies and planned faults are not kept over a restart.

    With `sampling`, a seed, standard queues hand out their messages in any order, and now and then fewer than there
    are or none, as SQS may; without, in order and in full.

    With `tls` it speaks HTTPS, and nothing else; clients have to trust `certificate`.

    `identities` says what an access key may do; `faults` what is to fail. Both may be used from any thread.
    """

    cloud = "aws"

    def __init__(
        self,
        *,
        host: str = LOOPBACK,
        port: int = 0,
        data: Path | None = None,
        clock: Clock | None = None,
        account: str = "000000000000",
        region: str = "us-east-1",
        sampling: int | None = None,
        tls: bool = False,
    ) -> None:
        self.host = host
        self.port = port
        self.account = account
        self.region = region
        self.identities = Identities(account)
        self.faults = Faults()
        self.fail_next = self.faults.fail_next
        """Makes the next requests of an action fail: `Faults.fail_next`."""
        self._sampler = None if sampling is None else Sampler(sampling)
        self._clock: Clock = SystemClock() if clock is None else clock
        self._store = Store(data, "aws")
        self._certificate = Certificate(data, "aws") if tls else None
        self._data = data
        self._runner: web.ServerRunner | None = None
        self._sqs: SqsService | None = None
        self._sns: SnsService | None = None
        self._steering: AwsSteering | None = None

    @property
    def url(self) -> str:
        """The endpoint URL for SDKs; only once it is started."""
        return f"{'http' if self._certificate is None else 'https'}://{self.host}:{self.port}"

    @property
    def certificate(self) -> Path | None:
        """The file by which clients trust this server; None without TLS. Only once it is started."""
        return None if self._certificate is None else self._certificate.path

    def secure(self) -> None:
        """Speak TLS, as with `tls`; only before it is started."""
        if self._certificate is None:
            self._certificate = Certificate(self._data, "aws")

    @property
    def credentials(self) -> frozenset[str] | None:
        """The access keys that are accepted; None accepts every one."""
        return self.identities.known

    @credentials.setter
    def credentials(self, access_keys: Iterable[str] | None) -> None:
        self.identities.known = None if access_keys is None else frozenset(access_keys)

    @property
    def queues(self) -> Queues:
        """The queues as they are now, for looking at from the server's own loop or a test; only once it is started."""
        if self._sqs is None:
            raise RuntimeError("the server isn't started: await start() first")
        return self._sqs.queues

    def env(self) -> Mapping[str, str]:
        """Return what AWS's SDKs and tools read; the credentials are made up, the server takes any."""
        trust: dict[str, str] = {}
        if (certificate := self._certificate) is not None:
            # What takes the place of the system's own authorities holds those too.
            trust = {
                "AWS_CA_BUNDLE": str(certificate.bundle),
                "AWS_CA_FILE": str(certificate.path),
                "AWS_TRUST_STORE": str(certificate.trust_store),
            }
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
            **trust,
        }

    async def start(self) -> None:
        """Load what `data` holds and listen; raise OSError where the port is taken."""
        self._store.open()
        timeline = Timeline(self._clock)
        rows = Rows(Journal(self._store))
        self._sqs = SqsService(self.account, rows, timeline, self.faults, self._sampler)
        sns = self._sns = SnsService(self._sqs.queues, rows, self.faults, lambda: self.url)
        services: dict[str, Service] = {
            "sqs": self._sqs,
            "sns": sns,
            "sts": StsService(self.account),
            "iam": IamService(self.account, rows, timeline),
            "kms": KmsService(self.account, rows),
            "lambda": LambdaService(self.account, rows),
            "logs": LogsService(self.account, rows, timeline),
            "monitoring": CloudWatchService(self.account, rows, timeline),
            "ssm": SsmService(self.account, rows, timeline),
        }
        for service in services.values():
            service.load()
        front = Front(services, self._store, self.identities, self.faults, sns.signer)
        if self._steering is not None:
            front.steered = self._steering.begin(self._sqs, sns)
        # A poll whose client hung up is cancelled, so that it is handed nothing; what was already handed to a dead
        # socket stays invisible until its timeout, as on AWS.
        server = web.Server(front.handle, request_factory=_request, handler_cancellation=True, access_log=None)
        self._runner = web.ServerRunner(server, shutdown_timeout=0.1)
        await self._runner.setup()
        tls = None if self._certificate is None else self._certificate.context(self.host)
        try:
            await web.TCPSite(self._runner, self.host, self.port, ssl_context=tls).start()
        except OSError:
            await self.stop()
            raise
        self.port = self._runner.addresses[0][1]

    def steer(self, clock: Clock) -> AwsSteering:
        """Return how it is steered, and have it run on a clock; once, before it is started."""
        self._clock = clock
        self._store.mirror()
        self._steering = AwsSteering(self, self._store, clock)
        return self._steering

    def abort_connections(self) -> None:
        """Break every connection at once, whatever is under way."""
        server = None if self._runner is None else self._runner.server
        for handler in [] if server is None else server.connections:
            if handler.transport is not None:
                handler.transport.abort()

    async def stop(self) -> None:
        """End every connection, make `data` durable and free the port; may be called twice."""
        runner, self._runner = self._runner, None
        if runner is None:
            return
        await runner.cleanup()
        if self._sqs is not None:
            await self._sqs.tasks.stop()
        if self._sns is not None:
            await self._sns.http.stop()
        await self._store.close()
        if self._certificate is not None:
            self._certificate.remove()


def _request(message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
    """Build a request as aiohttp does, with room for the largest batch."""
    loop = asyncio.get_running_loop()
    return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=MAX_REQUEST)
