"""Whatever is sent to the REST API of the local Pub/Sub is answered in Google's words, and it goes on serving."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polybus.localcloud.pubsub import PubsubServer
from polybus.localcloud.pubsub.rest import BINDINGS
from polybus.localcloud.server import running_in_thread

from .faces import Kept, sound
from .scale import cases

quick = cases(1 / 3)
NAMES = ["orders", "billing", "abc", "goog", "a%2Fb", ""]
KEYS = [
    "name", "topic", "labels", "messages", "data", "attributes", "ackIds", "ackDeadlineSeconds", "pushConfig", "policy",
    "bindings", "updateMask", "subscription", "schema", "type", "definition", "encoding", "message", "snapshot", "time",
    "schemaSettings", "bigqueryConfig", "table", "retryPolicy", "minimumBackoff", "filter", "pageSize", "permissions",
]  # fmt: skip
TEXTS = ["1s", "projects/local/topics/orders", "AVRO", '"string"', "eA==", "labels", "2026-01-01T00:00:00Z"]
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(TEXTS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=10,
)


class Face(NamedTuple):
    kept: Kept

    def ask(self, method: str, path: str, body: bytes = b"") -> int:
        status, answer = self.kept.ask(method, path, body, {})
        assert 200 <= status < 502, answer
        assert status != 500, answer
        if method != "HEAD":
            assert isinstance(json.loads(answer), dict)
        return status


@pytest.fixture(scope="module")
def face() -> Iterator[Face]:
    with running_in_thread(PubsubServer()) as server, sound():
        face = Face(Kept(http.client.HTTPConnection(server.host, server.rest_port, timeout=60)))
        face.ask("PUT", "/v1/projects/local/topics/orders", b"{}")
        face.ask("PUT", "/v1/projects/local/subscriptions/billing", b'{"topic": "projects/local/topics/orders"}')
        yield face
        assert face.ask("GET", "/v1/projects/local/topics") == 200
        face.kept.close()


# A pull of what is empty waits for its half minute.
BOUND = [one for one, binding in BINDINGS.items() if binding.method != "Pull"]


@quick
@given(
    st.sampled_from(BOUND),
    st.sampled_from(NAMES),
    st.dictionaries(st.sampled_from(KEYS), values, max_size=5),
    st.dictionaries(st.sampled_from(KEYS), st.text(max_size=6) | st.sampled_from(TEXTS), max_size=2),
)
def test_requests_of_any_shape(
    face: Face, binding: tuple[str, str, str], name: str, body: dict[str, Any], query: dict[str, str]
) -> None:
    method, shape, verb = binding
    path = f"/v1/projects/local/{shape.replace('*', name)}{':' if verb else ''}{verb}"
    face.ask(method, f"{path}?{urlencode(query, errors='replace')}", json.dumps(body).encode())


@quick
@given(
    st.sampled_from(["GET", "PUT", "POST", "PATCH", "DELETE", "HEAD", "OPTIONS"]), st.text(max_size=30), st.booleans()
)
def test_paths_of_any_kind(face: Face, method: str, path: str, there: bool) -> None:
    before = "/v1/projects/local/topics/" if there else "/"
    face.ask(method, before + quote(path, safe="/:@%", errors="replace").replace("%", "%25"))


@quick
@given(st.binary(max_size=100), st.sampled_from(["publish", "setIamPolicy", ""]))
def test_bodies_of_any_kind(face: Face, body: bytes, verb: str) -> None:
    path = f"/v1/projects/local/topics/orders{':' if verb else ''}{verb}"
    face.ask("POST" if verb else "PUT", path, body)


@pytest.mark.parametrize(
    "body", [b"[" * 100_000, b'{"labels":' * 50_000, b'{"messages": [{"data": "\\ud800"}]}', b"\xff"]
)
def test_bodies_that_hurt(face: Face, body: bytes) -> None:
    assert face.ask("POST", "/v1/projects/local/topics/orders:publish", body) == 400
