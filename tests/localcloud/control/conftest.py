"""The control face over HTTP, of one local server in a thread."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest

from polybus.localcloud.aws.server import AwsServer
from polybus.localcloud.control.desk import Desk
from polybus.localcloud.control.http import ControlServer
from polybus.localcloud.pubsub.server import PubsubServer
from polybus.localcloud.server import ThreadedServer
from polybus.localcloud.servicebus.server import ServiceBusServer

TOKEN = "a token"
SERVERS: dict[str, Any] = {"aws": AwsServer, "azure": ServiceBusServer, "gcp": PubsubServer}


class Face:
    """A server, and its control face as a test in any language has it."""

    def __init__(self, cloud: str, server: Any, control: ControlServer) -> None:
        self.cloud, self.server, self.control = cloud, server, control

    def ask(self, method: str, path: str, query: dict[str, Any] | None = None, **body: Any) -> Any:
        """Return the answer; raise HTTPError for a refusal."""
        return json.loads(
            self.raw(method, f"/v1/{self.cloud}/{path}", query, json.dumps(body).encode() if body else None)
        )

    def raw(self, method: str, path: str, query: Any = None, body: bytes | None = None, token: str = TOKEN) -> bytes:
        url = f"{self.control.url}{path}" + (f"?{urlencode(query)}" if query else "")
        headers = {"Authorization": f"Bearer {token}"}
        with urlopen(Request(url, body, headers, method=method), timeout=60) as answer:
            found: bytes = answer.read()
            return found

    def refused(self, method: str, path: str, query: Any = None, **body: Any) -> tuple[int, str]:
        with pytest.raises(HTTPError) as caught:
            self.ask(method, path, query, **body)
        with caught.value as error:
            return error.code, json.loads(error.read())["error"]

    def entity(self, name: str) -> dict[str, Any]:
        return next(one for one in self.ask("GET", "entities")["entities"] if one["name"] == name)


@pytest.fixture
def face(request: pytest.FixtureRequest) -> Iterator[Face]:
    """The face of the cloud that the test's parameter names."""
    cloud = request.param
    server, desk = SERVERS[cloud](), Desk()
    desk.take(cloud, server)
    threaded, control = ThreadedServer(server), ControlServer(desk, TOKEN)
    threaded.start()
    threaded.call(control.start)
    try:
        yield Face(cloud, server, control)
    finally:
        threaded.call(control.stop)
        threaded.stop()
