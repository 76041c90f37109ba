"""The management API as clients read it that know no namespaces, and that ask in their own spelling."""

from __future__ import annotations

import http.client
import re
import ssl
from collections.abc import Callable, Iterator

import pytest

from polybus.localcloud.servicebus import ServiceBusServer

SB = "http://schemas.microsoft.com/netservices/2010/10/servicebus/connect"
XSI = "http://www.w3.org/2001/XMLSchema-instance"
Ask = Callable[..., tuple[int, str]]


@pytest.fixture
def ask(server: ServiceBusServer) -> Iterator[Ask]:
    trust = ssl.create_default_context(cafile=str(server.certificate))
    connection = http.client.HTTPSConnection("localhost", server.port, context=trust, timeout=20)

    def call(path: str, content: str | None = None, *, method: str = "", **headers: str) -> tuple[int, str]:
        body = None if content is None else entry(content).encode()
        connection.request(
            method or ("GET" if content is None else "PUT"),
            f"/{path}?api-version=2021-05",
            body=body,
            headers={"Authorization": "anyone", **{name.replace("_", "-"): value for name, value in headers.items()}},
        )
        answer = connection.getresponse()
        return answer.status, answer.read().decode()

    yield call
    connection.close()


def entry(content: str) -> str:
    return f'<entry xmlns="http://www.w3.org/2005/Atom"><content type="application/xml">{content}</content></entry>'


def described(kind: str, inner: str = "") -> str:
    return f'<{kind} xmlns="{SB}" xmlns:i="{XSI}">{inner}</{kind}>'


@pytest.fixture
def made(ask: Ask) -> Ask:
    ask("q", described("QueueDescription"))
    ask("t", described("TopicDescription"))
    ask("t/Subscriptions/s", described("SubscriptionDescription"))
    return ask


def test_names_are_spelled_without_prefixes(made: Ask, server: ServiceBusServer) -> None:
    status, text = made("q")
    assert status == 200
    assert text.startswith('<?xml version="1.0" encoding="utf-8"?><entry xmlns="http://www.w3.org/2005/Atom"><id>')
    assert f'<content type="application/xml"><QueueDescription xmlns="{SB}" xmlns:i="{XSI}"><LockDuration>' in text
    counts = "http://schemas.microsoft.com/netservices/2011/06/servicebus"
    assert f'<CountDetails xmlns:d2p1="{counts}"><d2p1:ActiveMessageCount>0</d2p1:ActiveMessageCount>' in text
    assert "ns0" not in text
    assert "ns1" not in text
    _, text = made("t/Subscriptions/s/Rules/$Default")
    assert '<Filter i:type="TrueFilter"><SqlExpression>1=1</SqlExpression>' in text
    assert '<Action i:type="EmptyRuleAction" />' in text
    _, text = made("$Resources/queues")
    assert text.startswith('<?xml version="1.0" encoding="utf-8"?><feed xmlns="http://www.w3.org/2005/Atom"><title')
    assert text.count('xmlns="http://www.w3.org/2005/Atom"') == 1


def test_what_has_to_be_escaped_is(made: Ask) -> None:
    text = described("QueueDescription", "<UserMetadata>&lt;a&gt; &amp; \"b\" 'c' é</UserMetadata>")
    assert made("odd", text)[0] == 201
    assert "<UserMetadata>&lt;a&gt; &amp; \"b\" 'c' é</UserMetadata>" in made("odd")[1]


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize(
    "path", ["t/Subscriptions", "t/subscriptions", "t/Subscriptions/s/Rules", "T/SUBSCRIPTIONS/S/RULES"]
)
def test_lists_are_found_in_any_spelling(made: Ask, path: str, slash: str, server: ServiceBusServer) -> None:
    status, text = made(path + slash)
    name = "$Default" if path.lower().endswith("rules") else "s"
    assert status == 200
    assert f"<id>https://localhost:{server.port}/{path}/{name}?api-version=2021-05</id>" in text


@pytest.mark.parametrize(
    "path", ["q", "Q", "t/Subscriptions/s", "T/subscriptions/S", "t/Subscriptions/s/Rules/$Default"]
)
def test_an_entry_s_id_is_what_was_asked_for(made: Ask, path: str, server: ServiceBusServer) -> None:
    _, text = made(path)
    assert f"<id>https://localhost:{server.port}/{path}?api-version=2021-05</id>" in text


def test_a_name_with_a_slash_is_one_entity(made: Ask) -> None:
    assert made("a%2Fb", described("QueueDescription"))[0] == 201
    assert '<title type="text">a/b</title>' in made("a/b")[1]


FLAGS = {
    "q": ("QueueDescription", {"EnableBatchedOperations": "true", "EnableExpress": "false", "SupportOrdering": "true"}),
    "t": (
        "TopicDescription",
        {
            "EnableBatchedOperations": "true",
            "FilteringMessagesBeforePublishing": "false",
            "SupportOrdering": "true",
            "EnableSubscriptionPartitioning": "false",
            "EnableExpress": "false",
        },
    ),
    "t/Subscriptions/s": ("SubscriptionDescription", {"EnableBatchedOperations": "true"}),
}  # fmt: skip


@pytest.mark.parametrize("path", FLAGS)
def test_every_flag_is_told_and_kept(made: Ask, path: str) -> None:
    kind, flags = FLAGS[path]
    _, text = made(path)
    for name, default in flags.items():
        assert f"<{name}>{default}</{name}>" in text
    turned = {name: "false" if default == "true" else "true" for name, default in flags.items()}
    inner = "".join(f"<{name}>{value}</{name}>" for name, value in turned.items())
    status, text = made(path, described(kind, inner), If_Match="*")
    assert status == 200
    for name, value in turned.items():
        assert f"<{name}>{value}</{name}>" in text


ORDER = {
    "q": "LockDuration MaxSizeInMegabytes RequiresDuplicateDetection RequiresSession DefaultMessageTimeToLive "
    "DeadLetteringOnMessageExpiration DuplicateDetectionHistoryTimeWindow MaxDeliveryCount EnableBatchedOperations "
    "SizeInBytes MessageCount IsAnonymousAccessible Status CreatedAt UpdatedAt AccessedAt SupportOrdering CountDetails "
    "AutoDeleteOnIdle EnablePartitioning EntityAvailabilityStatus EnableExpress MaxMessageSizeInKilobytes",
    "t/Subscriptions/s": "LockDuration RequiresSession DefaultMessageTimeToLive DeadLetteringOnMessageExpiration "
    "DeadLetteringOnFilterEvaluationExceptions MessageCount MaxDeliveryCount EnableBatchedOperations Status CreatedAt "
    "UpdatedAt AccessedAt CountDetails AutoDeleteOnIdle EntityAvailabilityStatus",
}  # fmt: skip


@pytest.mark.parametrize("path", ORDER)
def test_fields_come_in_the_service_s_order(made: Ask, path: str) -> None:
    _, text = made(path)
    inside = text.partition("Description xmlns")[2]
    wanted = ORDER[path].split()
    found = [name for name in re.findall(r"<(\w+)[ >]", inside) if name in wanted]
    assert found == wanted


def test_pages_are_linked_with_the_version_of_the_api(made: Ask, server: ServiceBusServer) -> None:
    for number in range(101):
        server.entities.create_queue(f"more{number:03d}")
    _, text = made("$Resources/queues")
    (link,) = re.findall(r'<link rel="next" href="([^"]*)"', text)
    assert link == f"https://localhost:{server.port}/$Resources/queues?$skip=100&amp;$top=100&amp;api-version=2021-05"
