"""The server's life cycle; everything that needs gRPC or the protocol's messages is loaded when it starts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from polybus.clock import Clock, SystemClock
from polybus.errors import MissingExtra
from polybus.localcloud.certificate import Certificate
from polybus.localcloud.server import LOOPBACK
from polybus.localcloud.store import Store

if TYPE_CHECKING:
    import grpc

    from polybus.localcloud.pubsub.service import Service
    from polybus.localcloud.pubsub.steering import PubsubSteering

__all__ = ["PubsubServer"]

# gRPC reads this as it is loaded. Its own handlers end a child that a process with a server in it forks with SIGSEGV,
# one in four.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")


class PubsubServer:
    """A local Google Pub/Sub, reached by google-cloud-pubsub through PUBSUB_EMULATOR_HOST.

    `project` is only what `env` tells clients; any project of a request is taken. `enforce_iam` says whether dead
    letters are forwarded only with the service agent's grants, as on Google (see the package). Each stream is ended
    with UNAVAILABLE after `stream_seconds`, as Google does after about half an hour. With `tls` it listens on a second
    port, `tls_port` (0: any free one), where it speaks TLS; clients have to trust `certificate` there. The REST API is
    on `rest_port` (0: any free one).
    """

    cloud = "gcp"

    def __init__(
        self,
        *,
        host: str = LOOPBACK,
        port: int = 0,
        data: Path | None = None,
        clock: Clock | None = None,
        project: str = "local",
        enforce_iam: bool = True,
        stream_seconds: float = 1800.0,
        tls: bool = False,
        tls_port: int = 0,
        rest_port: int = 0,
    ) -> None:
        self.host = host
        self.project = project
        self._port = port
        self._store = Store(data, "pubsub")
        self._data = data
        self._certificate = Certificate(data, "pubsub") if tls else None
        self.tls_port = tls_port
        self.rest_port = rest_port
        self._clock = SystemClock() if clock is None else clock
        self._enforce_iam = enforce_iam
        self._stream_seconds = stream_seconds
        self._planned: list[tuple[str, grpc.StatusCode, int, str]] = []
        self._service: Service | None = None
        self._steering: PubsubSteering | None = None

    @property
    def port(self) -> int:
        return self._port

    @property
    def certificate(self) -> Path | None:
        """The file by which clients of the port with TLS trust this server; None without. Only once it is started."""
        return None if self._certificate is None else self._certificate.path

    def secure(self) -> None:
        """Speak TLS too, as with `tls`; only before it is started."""
        if self._certificate is None:
            self._certificate = Certificate(self._data, "pubsub")

    def env(self) -> Mapping[str, str]:
        trust: dict[str, str] = {}
        if (certificate := self._certificate) is not None:
            trust = {
                "PUBSUB_TLS_ENDPOINT": f"{self.host}:{self.tls_port}",
                "PUBSUB_CA_FILE": str(certificate.path),
                "PUBSUB_CA_BUNDLE": str(certificate.bundle),
                "PUBSUB_TRUST_STORE": str(certificate.trust_store),
            }
        return {
            **trust,
            "PUBSUB_EMULATOR_HOST": f"{self.host}:{self.port}",
            "PUBSUB_PROJECT_ID": self.project,
            "GOOGLE_CLOUD_PROJECT": self.project,
            # Terraform's provider, and Pulumi's, which is made of it, read this, and take the token for what it is.
            "GOOGLE_PUBSUB_CUSTOM_ENDPOINT": f"http://{self.host}:{self.rest_port}/v1/",
        }

    async def start(self) -> None:
        try:
            from polybus.localcloud.pubsub.service import Service
        except ModuleNotFoundError as error:
            raise MissingExtra(f"{error.name} (for the local Pub/Sub server)", "gcp,local") from error
        service = Service(
            self._store,
            self._clock,
            enforce_iam=self._enforce_iam,
            stream_seconds=self._stream_seconds,
            events=None if self._steering is None else self._steering.events,
        )
        planned, self._planned = self._planned, []
        for method, code, count, detail in planned:
            service.faults.plan(method, code, count, detail)
        self._store.open()
        if self._certificate is not None:
            key = self._certificate.make(self.host)
            try:
                self.tls_port = service.secure(self.host, self.tls_port, key, self._certificate.path.read_bytes())
            except OSError:
                await service.stop()
                raise
        self._port = await service.start(self.host, self._port)
        self._service = service
        try:
            self.rest_port = await service.start_rest(self.host, self.rest_port)
        except BaseException:
            await self.stop()
            raise
        if self._steering is not None:
            self._steering.begin(service)

    def steer(self, clock: Clock) -> PubsubSteering:
        """Return how it is steered, and have it run on a clock; once, before it is started."""
        from polybus.localcloud.pubsub.steering import PubsubSteering

        self._clock = clock
        self._store.mirror()
        self._steering = PubsubSteering(self, self._store, clock)
        return self._steering

    async def stop(self) -> None:
        service, self._service = self._service, None
        if service is not None:
            await service.stop()
        if self._certificate is not None:
            self._certificate.remove()

    def fail_next(self, method: str, code: grpc.StatusCode, count: int = 1, detail: str = "") -> None:
        """Have the next `count` calls of `method` (such as "Publish" or "StreamingPull") fail with `code`.

        A failing call does nothing else. May be called from any thread, before or after `start`; an unknown method
        raises ValueError, here or, where nothing is started yet, there.
        """
        if self._service is None:
            self._planned.append((method, code, count, detail))
        else:
            self._service.faults.plan(method, code, count, detail)

    @property
    def retained_messages(self) -> int:
        """How many messages anything here still holds; 0 once all are acked and nothing retains them."""
        return 0 if self._service is None else self._service.retained_messages
