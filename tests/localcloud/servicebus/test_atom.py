"""The management API as clients read it that know no namespaces, and that ask in their own spelling."""

from __future__ import annotations

import http.client
import re
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from azure.servicebus import ServiceBusClient, ServiceBusMessage
from azure.servicebus.exceptions import ServiceBusAuthenticationError, ServiceBusError
from tests.localcloud.servicebus.test_tokens import token

from polybus.clock import SteppedClock
from polybus.localcloud.server import running_in_thread
from polybus.localcloud.servicebus import QueueOptions, ServiceBusServer
from polybus.localcloud.servicebus.entities.options import AccessRule

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


KEYS = (
    '<AuthorizationRules><AuthorizationRule i:type="SharedAccessAuthorizationRule">'
    "<ClaimType>SharedAccessKey</ClaimType><ClaimValue>None</ClaimValue><Rights><AccessRights>Send</AccessRights></Rights><KeyName>sender</KeyName>"
    "<PrimaryKey>first</PrimaryKey><SecondaryKey>second</SecondaryKey></AuthorizationRule></AuthorizationRules>"
)


def test_an_entity_s_own_keys_are_told_and_hold(made: Ask, server: ServiceBusServer) -> None:
    def sends(entity: str, key: str) -> None:
        text = server.connection_string("sender", key)
        with (
            ServiceBusClient.from_connection_string(text, retry_total=0) as client,
            client.get_queue_sender(entity) as sender,
        ):
            sender.send_messages(ServiceBusMessage("x"))

    assert made("mine", described("QueueDescription", KEYS))[0] == 201
    _, text = made("mine")
    assert "CreatedTime" not in text
    for part in ("<AccessRights>Send</AccessRights>", "<PrimaryKey>first</PrimaryKey>", "<KeyName>sender</KeyName>"):
        assert part in text
    for key in ("first", "second"):
        sends("mine", key)
    for entity, key in (("q", "first"), ("mine", "third")):
        with pytest.raises(ServiceBusAuthenticationError):
            sends(entity, key)
    with (
        ServiceBusClient.from_connection_string(server.connection_string("sender", "first"), retry_total=0) as client,
        pytest.raises(ServiceBusError, match="'Listen' claim"),
        client.get_queue_receiver("mine") as receiver,
    ):
        receiver.receive_messages(max_wait_time=1)
    assert made("mine", described("QueueDescription"), If_Match="*")[0] == 200
    assert "sender" not in made("mine")[1]
    with pytest.raises(ServiceBusAuthenticationError):
        sends("mine", "first")


def test_an_entity_s_keys_outlive_the_server(tmp_path: Path) -> None:
    rule = AccessRule(name="k", claims=("Send",), primary="first", secondary="second")
    for _ in range(2):
        with running_in_thread(ServiceBusServer(data=tmp_path)) as server:
            if not server.entities.queues():
                server.entities.create_queue("q", QueueOptions(access=(rule,)))
            assert server.entities.options("q") == QueueOptions(access=(rule,))
            assert server.rights.claims("q\nk", "q") == {"Send"}


@pytest.mark.parametrize(
    "wrong",
    [
        KEYS.replace("<KeyName>sender</KeyName>", ""),
        KEYS.replace(">Send<", ">Everything<"),
        KEYS.replace(">Send<", ">Manage<"),
        KEYS.replace("</AuthorizationRules>", "") + KEYS.replace("<AuthorizationRules>", ""),
    ],
)
def test_keys_that_cannot_be_are_refused(made: Ask, wrong: str) -> None:
    assert made("mine", described("QueueDescription", wrong))[0] == 400


def test_keys_that_are_not_given_are_made(made: Ask) -> None:
    bare = KEYS.replace("<PrimaryKey>first</PrimaryKey><SecondaryKey>second</SecondaryKey>", "")
    made("mine", described("QueueDescription", bare))
    first, second = re.findall(r"<(?:Primary|Secondary)Key>([^<]{44})<", made("mine")[1])
    assert first != second


def test_a_partitioned_entity_s_size_is_that_of_its_partitions(made: Ask) -> None:
    size = "<MaxSizeInMegabytes>4096</MaxSizeInMegabytes><EnablePartitioning>true</EnablePartitioning>"
    made("wide", described("QueueDescription", size))
    _, text = made("wide")
    assert "<MaxSizeInMegabytes>65536</MaxSizeInMegabytes>" in text
    assert made("wide", described("QueueDescription", size.replace("4096", "65536")), If_Match="*")[0] == 200
    assert "<MaxSizeInMegabytes>65536</MaxSizeInMegabytes>" in made("wide")[1]


def test_times_of_an_entity_stay(made: Ask, clock: SteppedClock, server: ServiceBusServer) -> None:
    def told(name: str) -> str:
        (found,) = re.findall(f"<{name}>([^<]*)<", made("q")[1])
        return str(found)

    created, updated = told("CreatedAt"), told("UpdatedAt")
    assert told("AccessedAt") == "0001-01-01T00:00:00Z"
    assert "<AccessedAt>0001" not in made("t/Subscriptions/s")[1]
    with (
        ServiceBusClient.from_connection_string(server.connection_string()) as client,
        client.get_queue_sender("q") as sender,
    ):
        sender.send_messages(ServiceBusMessage("x"))
    assert told("AccessedAt") > created
    clock.advance(60)
    assert (told("CreatedAt"), told("UpdatedAt")) == (created, updated)
    made("q", described("QueueDescription"), If_Match="*")
    assert told("CreatedAt") == created
    assert told("UpdatedAt") > updated


def test_an_entity_with_sessions_may_forward(made: Ask) -> None:
    both = "<RequiresSession>true</RequiresSession><ForwardTo>q</ForwardTo>"
    assert made("sessions", described("QueueDescription", both))[0] == 201


REFUSED = {
    ("GET", "q"): "<Detail>Manage,EntityRead claims required for this operation",
    ("GET", "$Resources/queues"): "<Detail>Manage,EntityRead claims required for this operation",
    ("PUT", "new"): "Authorization failed for specified action: Manage,EntityWrite.",
    ("DELETE", "q"): "Authorization failed for specified action: Manage,EntityDelete.",
    ("GET", "t/Subscriptions/s"): "SubCode=40100: Unauthorized : Unauthorized access for 'GetSubscription' operation",
    ("GET", "t/Subscriptions"): "Unauthorized access for 'EnumerateSubscriptions' operation",
    ("PUT", "t/Subscriptions/s"): "Unauthorized access for 'CreateOrUpdateSubscription' operation",
    ("DELETE", "t/Subscriptions/s/Rules/r"): "Unauthorized access for 'DeleteRule' operation",
    ("GET", "t/Subscriptions/s/Rules/"): "Unauthorized access for 'EnumerateRules' operation",
}


@pytest.mark.parametrize(("method", "path"), REFUSED)
def test_a_right_that_lacks_is_told_as_the_service_does(
    made: Ask, server: ServiceBusServer, method: str, path: str
) -> None:
    server.rights.put("sender", "secret", "", {"Send"})
    status, text = made(path, method=method, Authorization=token("x", name="sender", key="secret"))
    assert status == 401
    assert REFUSED[method, path] in text


def test_what_is_not_there_is_told_before_the_right(made: Ask, server: ServiceBusServer) -> None:
    server.rights.put("sender", "secret", "", {"Send"})
    assert made("nothing", Authorization=token("x", name="sender", key="secret"))[0] == 404


@pytest.mark.parametrize("window", ["P25D", "PT1S", "P10675199DT2H48M5.4775807S"])
@pytest.mark.parametrize("kind", ["QueueDescription", "TopicDescription"])
def test_a_window_that_cannot_be_is_refused_without_detection_too(made: Ask, kind: str, window: str) -> None:
    inner = f"<DuplicateDetectionHistoryTimeWindow>{window}</DuplicateDetectionHistoryTimeWindow>"
    assert made("new", described(kind, inner))[0] == 400


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ("RequiresDuplicateDetection", "RequiresDuplicateDetection property of an existing Topic cannot be changed"),
        ("EnablePartitioning", "Partitioning cannot be changed for Topic. "),
    ],
)
def test_what_is_fixed_is_told_as_the_service_does(made: Ask, field: str, said: str) -> None:
    status, text = made("t", described("TopicDescription", f"<{field}>true</{field}>"), If_Match="*")
    assert status == 400
    assert said in text
