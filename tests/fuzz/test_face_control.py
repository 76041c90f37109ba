"""Whatever a client asks of the control face, and of the look into queues, is refused with a reason or answered."""

from __future__ import annotations

import functools
import http.client
import json
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polybus.localcloud.aws.server import AwsServer
from polybus.localcloud.control.desk import Desk
from polybus.localcloud.control.http import ROUTES, ControlServer
from polybus.localcloud.pubsub.server import PubsubServer
from polybus.localcloud.server import ThreadedServer
from polybus.localcloud.servicebus.server import ServiceBusServer

from .faces import Kept, sound
from .scale import cases

FIELDS = {
    "entity": ["jobs", "topics/t", "jobs/$DeadLetterQueue", "t", "subscriptions/s"],
    "operation": ["SendMessage", "Publish", "send", "*", "http", "StreamingPull"],
    "error": ["cut", "UNAVAILABLE", "Throttling", "amqp:not-found"],
    "name": ["a", "b"],
    "kind": ["published", "consumed"],
    "body": ["x"],
    "body_base64": ["eA=="],
    "key": ["k"],
    "message": ["1"],
}
NUMBERS = ["limit", "after", "count", "delay", "advance"]
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
fields = st.fixed_dictionaries(
    {},
    optional={
        **{name: st.sampled_from(good) | anything for name, good in FIELDS.items()},
        **{name: st.integers(0, 5) | anything for name in NUMBERS},
        "attributes": st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=3) | anything,
        "after_done": st.booleans(),
    },
)


class Faces(NamedTuple):
    desk: Desk
    control: ControlServer
    aws: AwsServer


@pytest.fixture(scope="module")
def faces() -> Iterator[Faces]:
    """All three clouds; on one loop each, as the face needs them together, on that of the first."""
    aws, azure, gcp, desk = AwsServer(), ServiceBusServer(), PubsubServer(), Desk()
    for cloud, server in (("aws", aws), ("azure", azure), ("gcp", gcp)):
        desk.take(cloud, server)
    control = ControlServer(desk, "token")
    threaded = ThreadedServer(aws)
    threaded.start()
    threaded.call(azure.start)
    threaded.call(gcp.start)
    threaded.call(control.start)
    azure.entities.create_queue("jobs")
    found = Faces(desk, control, aws)
    try:
        with sound():
            yield found
            kept(control.port).close()
            kept(aws.port).close()
    finally:
        for server in (control, gcp, azure):
            threaded.call(server.stop)
        threaded.stop()


@functools.cache
def kept(port: int) -> Kept:
    return Kept(http.client.HTTPConnection("127.0.0.1", port, timeout=60))


def ask(faces: Faces, method: str, path: str, body: bytes, token: str = "token") -> tuple[int, bytes]:
    return kept(faces.control.port).ask(method, path, body, {"Authorization": f"Bearer {token}"})


quick = cases(1 / 3)
# A restore starts the whole server anew, which `test_control` has; cutting ends the connections of the others here.
ROUTED = [route for route in ROUTES if route[1] not in ("restore", "connections")]


@quick
@given(st.sampled_from(["aws", "azure", "gcp"]), st.sampled_from(ROUTED), fields, st.booleans())
def test_fields_of_any_kind(
    faces: Faces, cloud: str, route: tuple[str, str], asked: dict[str, Any], query: bool
) -> None:
    method, name = route
    path = f"/v1/{cloud}/{name}"
    if name == "events":
        asked = {**asked, "timeout": 0}
    if "after_done" in asked:
        asked["after"] = asked.pop("after_done")
    if query:
        pairs = {key: value if isinstance(value, str) else json.dumps(value) for key, value in asked.items()}
        status, answer = ask(faces, method, f"{path}?{urlencode(pairs, errors='replace')}", b"")
    else:
        status, answer = ask(faces, method, path, json.dumps(asked).encode())
    assert status in (200, 400), answer
    assert isinstance(json.loads(answer), dict)


@quick
@given(st.binary(max_size=200), st.text(max_size=20), st.sampled_from(["GET", "POST", "DELETE", "PUT", "HEAD"]))
def test_bodies_and_paths_of_any_kind(faces: Faces, body: bytes, path: str, method: str) -> None:
    status, _ = ask(faces, method, f"/v1/aws/{quote(path, errors='replace')}", body)
    assert status in (200, 400, 404)
    status, _ = ask(faces, method, f"/{quote(path, errors='replace')}", body, token="none")
    assert status == 401


@quick
@given(
    st.sampled_from(["QueueUrl", "ShowDelayed", "ShowInvisible", "Other"]) | st.text(max_size=5),
    st.text(max_size=20),
    st.binary(max_size=60),
    st.sampled_from(["", "AmazonSQS.ReceiveMessage"]),
    st.sampled_from(["GET", "POST"]),
    st.sampled_from(["", "/", "/us-east-1/000000000000/q", "/a/b/c/d", "//"]),
)
def test_looks_of_any_kind(
    faces: Faces, name: str, value: str, body: bytes, target: str, method: str, more: str
) -> None:
    path = f"/_aws/sqs/messages{more}?{urlencode({name: value}, errors='replace')}"
    headers = {"X-Amz-Target": target} if target else {}
    status, _ = kept(faces.aws.port).ask(method, path, body, headers)
    assert 200 <= status < 500
