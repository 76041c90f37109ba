"""Subscriptions of HTTP endpoints: asked, confirmed, delivered to, tried again, given up, ended."""

from __future__ import annotations

import base64
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Empty, Queue
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from tests.localcloud.aws.conftest import Aws

from polybus.clock import SteppedClock
from polybus.localcloud.aws.server import AwsServer
from polybus.localcloud.server import running_in_thread

WAIT = 30.0  # seconds for what comes by itself, on a busy machine


@dataclass
class Got:
    headers: dict[str, str]
    body: str

    @property
    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found


@dataclass
class Endpoint:
    """An HTTP endpoint: what it was posted, and what it answers next (200 where nothing is said)."""

    got: Queue[Got] = field(default_factory=Queue)
    answers: list[int] = field(default_factory=list)
    url: str = ""

    def next(self, kind: str = "Notification") -> Got:
        found = self.got.get(timeout=WAIT)
        assert found.headers["x-amz-sns-message-type"] == kind
        return found

    def later(self, aws: Aws) -> Got:
        """Return what comes once time has passed: it is moved on until then."""
        for _ in range(int(WAIT / 0.1)):
            aws.clock.advance(60)
            with suppress(Empty):
                return self.got.get(timeout=0.1)
        raise AssertionError("nothing came")


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    endpoint = Endpoint()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            status = endpoint.answers.pop(0) if endpoint.answers else 200
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()
            endpoint.got.put(Got({name.lower(): value for name, value in self.headers.items()}, body))

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        endpoint.url = f"http://127.0.0.1:{server.server_port}/sns"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield endpoint
        server.shutdown()
        thread.join()


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=WAIT) as answer:
        text: str = answer.read().decode()
        return text


def subscribed(aws: Aws, endpoint: Endpoint, topic: str, **attributes: str) -> str:
    """Subscribe the endpoint, and confirm as its owner would: by the link."""
    arn: str = aws.sns.subscribe(
        TopicArn=topic, Protocol="http", Endpoint=endpoint.url, Attributes=attributes, ReturnSubscriptionArn=True
    )["SubscriptionArn"]
    assert arn in get(endpoint.next("SubscriptionConfirmation").document["SubscribeURL"])
    return arn


def verified(document: dict[str, Any], fields: tuple[str, ...]) -> None:
    certificate = x509.load_pem_x509_certificate(get(document["SigningCertURL"]).encode())
    text = "".join(f"{name}\n{document[name]}\n" for name in fields if name in document)
    digest = SHA256() if document["SignatureVersion"] == "2" else SHA1()
    key: Any = certificate.public_key()
    key.verify(base64.b64decode(document["Signature"]), text.encode(), PKCS1v15(), digest)


def test_an_endpoint_is_asked_and_gets_nothing_before_it_has_confirmed(aws: Aws, endpoint: Endpoint) -> None:
    topic = aws.topic()
    answer = aws.sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=endpoint.url)
    assert answer["SubscriptionArn"] == "pending confirmation"
    aws.sns.publish(TopicArn=topic, Message="too early")
    asked = endpoint.next("SubscriptionConfirmation")
    assert asked.headers["user-agent"] == "Amazon Simple Notification Service Agent"
    assert asked.headers["content-type"] == "text/plain; charset=UTF-8"
    document = asked.document
    verified(document, ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"))
    arn = aws.sns.confirm_subscription(TopicArn=topic, Token=document["Token"])["SubscriptionArn"]
    found = aws.sns.get_subscription_attributes(SubscriptionArn=arn)["Attributes"]
    assert (found["PendingConfirmation"], found["ConfirmationWasAuthenticated"]) == ("false", "false")
    aws.sns.publish(TopicArn=topic, Message="in time", Subject="news", MessageAttributes={"a": aws.string("b")})
    got = endpoint.next()
    assert got.headers["x-amz-sns-subscription-arn"] == arn
    assert (got.document["Message"], got.document["MessageAttributes"]["a"]["Value"]) == ("in time", "b")
    verified(got.document, ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"))


def test_version_2_is_signed_with_the_other_digest(aws: Aws, endpoint: Endpoint) -> None:
    topic = aws.topic(SignatureVersion="2")
    subscribed(aws, endpoint, topic)
    aws.sns.publish(TopicArn=topic, Message="m")
    document = endpoint.next().document
    assert document["SignatureVersion"] == "2"
    verified(document, ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"))


def test_raw_delivery_and_filters_hold_for_endpoints(aws: Aws, endpoint: Endpoint) -> None:
    topic = aws.topic()
    subscribed(aws, endpoint, topic, RawMessageDelivery="true", FilterPolicy='{"kind": ["a"]}')
    for kind in "ba":
        aws.sns.publish(TopicArn=topic, Message=f"of {kind}", MessageAttributes={"kind": aws.string(kind)})
    got = endpoint.next()
    assert (got.body, got.headers["x-amz-sns-rawdelivery"]) == ("of a", "true")


@pytest.mark.parametrize("status", [500, 503, 429])
def test_what_fails_for_now_is_tried_again_by_the_policy(aws: Aws, endpoint: Endpoint, status: int) -> None:
    policy = {"http": {"defaultHealthyRetryPolicy": {"numRetries": 2, "minDelayTarget": 30, "maxDelayTarget": 60}}}
    topic = aws.topic(DeliveryPolicy=json.dumps(policy))
    subscribed(aws, endpoint, topic)
    endpoint.answers = [status, status]
    aws.sns.publish(TopicArn=topic, Message="m")
    found = [endpoint.next().document["MessageId"]]
    found += [endpoint.later(aws).document["MessageId"] for _ in range(2)]
    assert len(set(found)) == 1
    assert endpoint.answers == []


@pytest.mark.parametrize(("answers", "tries"), [([404], 1), ([500, 500], 2)])
def test_what_is_given_up_is_a_dead_letter(aws: Aws, endpoint: Endpoint, answers: list[int], tries: int) -> None:
    letters, topic = aws.queue("letters"), aws.topic()
    aws.allow(letters, topic)
    policy = {"healthyRetryPolicy": {"numRetries": 1, "numNoDelayRetries": 1, "minDelayTarget": 1, "maxDelayTarget": 1}}
    redrive = json.dumps({"deadLetterTargetArn": aws.arn(letters)})
    subscribed(aws, endpoint, topic, DeliveryPolicy=json.dumps(policy), RedrivePolicy=redrive)
    endpoint.answers = list(answers)
    aws.sns.publish(TopicArn=topic, Message="m")
    for _ in range(tries):
        endpoint.next()
    [letter] = aws.receive(letters, WaitTimeSeconds=20)
    assert json.loads(letter["Body"])["Message"] == "m"
    assert endpoint.got.empty()


def test_a_subscription_is_ended_by_its_link_unless_it_was_confirmed_by_its_owner(aws: Aws, endpoint: Endpoint) -> None:
    topic = aws.topic()
    subscribed(aws, endpoint, topic)
    aws.sns.publish(TopicArn=topic, Message="m")
    get(endpoint.next().document["UnsubscribeURL"])
    endpoint.next("UnsubscribeConfirmation")
    assert aws.sns.list_subscriptions()["Subscriptions"] == []

    aws.sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=endpoint.url)
    token = endpoint.next("SubscriptionConfirmation").document["Token"]
    aws.sns.confirm_subscription(TopicArn=topic, Token=token, AuthenticateOnUnsubscribe="true")
    aws.sns.publish(TopicArn=topic, Message="m")
    with pytest.raises(urllib.error.HTTPError, match="403"):
        get(endpoint.next().document["UnsubscribeURL"])


@pytest.mark.parametrize(
    ("token", "told"), [("randomtoken", "Invalid parameter: Token"), ("0" * 128, "Invalid token"), ("", "Token")]
)
def test_wrong_tokens_are_refused(aws: Aws, endpoint: Endpoint, token: str, told: str) -> None:
    topic = aws.topic()
    aws.sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=endpoint.url)
    with aws.refused("InvalidParameter", match=told):
        aws.sns.confirm_subscription(TopicArn=topic, Token=token)
    with aws.refused("InvalidParameter", match="Topic"):
        aws.sns.confirm_subscription(TopicArn=topic + "x", Token="0" * 128)


def test_what_is_fifo_is_signed_in_no_envelope(aws: Aws) -> None:
    topic, url = aws.topic("t.fifo", ContentBasedDeduplication="true"), aws.queue("q.fifo")
    aws.subscribe(topic, url)
    aws.sns.publish(TopicArn=topic, Message="m", MessageGroupId="g")
    [message] = aws.receive(url)
    assert not {"Signature", "SignatureVersion", "SigningCertURL"} & json.loads(message["Body"]).keys()


def test_a_confirmed_subscription_outlives_a_restart(tmp_path: Path, endpoint: Endpoint) -> None:
    for first in (True, False):
        clock = SteppedClock()
        with running_in_thread(AwsServer(clock=clock, data=tmp_path)) as server:
            aws = Aws(server, clock)
            try:
                topic = aws.topic()
                if first:
                    subscribed(aws, endpoint, topic)
                aws.sns.publish(TopicArn=topic, Message="m")
                assert endpoint.next().document["Message"] == "m"
            finally:
                aws.close()


def test_a_path_that_is_nobodys_is_not_found(aws: Aws) -> None:
    with pytest.raises(urllib.error.HTTPError, match="404"):
        get(f"{aws.server.url}/000000000000/q")
