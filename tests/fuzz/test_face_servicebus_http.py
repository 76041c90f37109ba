"""Whatever is sent to Service Bus's management API is answered, refused where it has to be, and ends nothing."""

from __future__ import annotations

import contextlib
import functools
import http.client
import socket
import ssl
from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from polybus.localcloud.server import running_in_thread
from polybus.localcloud.servicebus import QueueOptions, ServiceBusServer

from .faces import Kept, sound
from .scale import OVER_A_SOCKET, cases

SB = "http://schemas.microsoft.com/netservices/2010/10/servicebus/connect"
XSI = "http://www.w3.org/2001/XMLSchema-instance"
# Half of the cases of this face are its frames'; these are shared by four tests.
quick = cases(1 / 8, in_suite=OVER_A_SOCKET)

PATHS = [
    "/q",
    "/t",
    "/t/subscriptions/s",
    "/t/subscriptions/s/rules/r",
    "/t/subscriptions",
    "/t/subscriptions/s/rules",
    "/$Resources/queues",
    "/$Resources/topics?$skip=1&$top=2",
    "/$Resources/queues?$skip=-1&$top=x",
    "/$namespaceinfo",
    "/new",
    "/a/b/c",
]
METHODS = ["PUT", "PUT", "PUT", "GET", "DELETE", "POST", "HEAD"]
TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8),
    st.sampled_from(["", "PT1M", "P10675199DT2H48M5.4775807S", "PT0S", "P", "-PT1S", "P1Y", "PT" + "9" * 400 + "S"]),
    st.sampled_from(["true", "1", "-1", "9" * 30, "9" * 5_000, "nan", "1e400", "2026-01-01T00:00:00", "0001-01-01"]),
    st.sampled_from(["1=1", "a = 'b' AND", "sys.Label LIKE '%' ESCAPE 'x'", "SET a = 1", "(" * 50, "NOT " * 50]),
)
FIELDS = [
    "LockDuration",
    "MaxSizeInMegabytes",
    "RequiresDuplicateDetection",
    "RequiresSession",
    "DefaultMessageTimeToLive",
    "DeadLetteringOnMessageExpiration",
    "DuplicateDetectionHistoryTimeWindow",
    "MaxDeliveryCount",
    "MaxMessageSizeInKilobytes",
    "ForwardTo",
    "ForwardDeadLetteredMessagesTo",
    "AutoDeleteOnIdle",
    "Status",
    "EnablePartitioning",
    "UserMetadata",
]
KINDS = ["QueueDescription", "TopicDescription", "SubscriptionDescription", "RuleDescription", "Nonsense"]


def escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")


def tag(name: str, content: str, more: str = "") -> str:
    return f"<{name}{more}>{content}</{name}>"


def entry(content: str) -> bytes:
    inside = tag("content", content, ' type="application/xml"')
    return tag("entry", inside, ' xmlns="http://www.w3.org/2005/Atom"').encode()


def typed(name: str, kind: str, content: str) -> str:
    return tag(name, content, f' xmlns:i="{XSI}" i:type="{escaped(kind)}"')


fields = st.lists(
    st.tuples(st.sampled_from(FIELDS), TEXTS).map(lambda pair: tag(pair[0], escaped(pair[1]))), max_size=4
).map("".join)
parameters = st.lists(
    st.tuples(
        TEXTS, st.sampled_from(["d:int", "d:double", "d:boolean", "d:dateTime", "d:duration", "string", ""]), TEXTS
    ).map(
        lambda given: tag(
            "KeyValueOfstringanyType", tag("Key", escaped(given[0])) + typed("Value", given[1], escaped(given[2]))
        )
    ),
    max_size=2,
).map("".join)
rules = st.builds(
    lambda kind, expression, values, system, action: (
        typed(
            "Filter",
            kind,
            tag("SqlExpression", escaped(expression))
            + tag("Parameters", values)
            + tag("Properties", values)
            + tag("CorrelationId", escaped(system)),
        )
        + tag("Action", tag("SqlExpression", escaped(action)) + tag("Parameters", values))
    ),
    st.sampled_from(["SqlFilter", "CorrelationFilter", "TrueFilter", "FalseFilter", "x:SqlFilter", "Odd"]),
    TEXTS,
    parameters,
    TEXTS,
    TEXTS,
)
entries = st.tuples(st.sampled_from(KINDS), st.one_of(fields, rules)).map(
    lambda given: entry(tag(given[0], given[1], f' xmlns="{SB}"'))
)
bodies = st.one_of(
    entries,
    entries,
    st.binary(max_size=60),
    st.sampled_from(
        [
            b"",
            b"<a>" * 5_000,
            b'<?xml version="1.0" encoding="nonsense"?><a/>',
            b'<?xml version="1.0" encoding="idna"?><a/>',
        ]
    ),
    st.tuples(entries, st.integers(0, 300), st.binary(max_size=3)).map(
        lambda given: given[0][: given[1]] + given[2] + given[0][given[1] + 1 :]
    ),
)


@pytest.fixture(scope="module")
def server() -> Iterator[ServiceBusServer]:
    with running_in_thread(ServiceBusServer()) as running:
        running.entities.create_queue("q", QueueOptions())
        asked(running, "GET", "/q", b"")
        with sound():
            yield running
            kept(running).close()


@functools.cache
def trusting(certificate: str) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=certificate)


@functools.cache
def kept(server: ServiceBusServer) -> Kept:
    tls = trusting(str(server.certificate))
    return Kept(http.client.HTTPSConnection("localhost", server.management_port, timeout=30, context=tls))


def asked(server: ServiceBusServer, method: str, path: str, body: bytes, **headers: str) -> int:
    return kept(server).ask(method, path, body, headers)[0]


def still_serves(server: ServiceBusServer) -> None:
    assert asked(server, "GET", "/$namespaceinfo", b"") == 200


@quick
@given(st.sampled_from(METHODS), st.sampled_from(PATHS), bodies, st.booleans())
@example("PUT", "/q", b'<?xml version="1.0" encoding="odd"?><a/>', False)
def test_requests_of_any_content(server: ServiceBusServer, method: str, path: str, body: bytes, update: bool) -> None:
    status = asked(server, method, path, body, **({"If-Match": "*"} if update else {}))
    assert 200 <= status < 500
    still_serves(server)


@quick
@given(st.sampled_from(["/t/subscriptions/s/rules/r", "/t/subscriptions/s", "/q"]), entries)
def test_descriptions_of_any_content(server: ServiceBusServer, path: str, body: bytes) -> None:
    for made, kind in (("/t", "Topic"), ("/t/subscriptions/s", "Subscription")):
        asked(server, "PUT", made, entry(tag(f"{kind}Description", "", f' xmlns="{SB}"')))
    assert 200 <= asked(server, "PUT", path, body) < 500
    for each in (path, path.rpartition("/")[0] or "/$Resources/queues"):
        assert 200 <= asked(server, "GET", each, b"") < 500
    if path != "/q":
        asked(server, "DELETE", path, b"")


@quick
@given(
    st.text("abz/%$?&=019.~ ", max_size=20).map(lambda text: "/" + text.replace(" ", "%20")),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30),
)
def test_paths_and_tokens_of_any_kind(server: ServiceBusServer, path: str, token: str) -> None:
    for each in (token, f"SharedAccessSignature {token}", f"SharedAccessSignature sr=a&se={'9' * 5_000}&skn=x"):
        assert 200 <= asked(server, "GET", path, b"", Authorization=each) < 500


@quick
@given(st.binary(min_size=1, max_size=300), st.booleans())
def test_bytes_that_are_no_http(server: ServiceBusServer, raw: bytes, encrypted: bool) -> None:
    said = b""
    with socket.create_connection(("127.0.0.1", server.management_port), timeout=30) as plain:
        if encrypted:
            tls = trusting(str(server.certificate))
            with tls.wrap_socket(plain, server_hostname="localhost") as secret:
                secret.sendall(raw + b"\r\n\r\n")
        else:
            with contextlib.suppress(ConnectionError):  # the server had heard enough
                plain.sendall(raw)
                plain.shutdown(socket.SHUT_WR)
                while part := plain.recv(65_536):
                    said += part
    assert b"500 Internal" not in said
    still_serves(server)
