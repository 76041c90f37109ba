"""What the control face shows and does, on each cloud with the cloud's own client at the other end."""

from __future__ import annotations

import gc
import json
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import boto3
import grpc
import pytest
from azure.servicebus import ServiceBusClient, ServiceBusMessage
from azure.servicebus.exceptions import ServiceBusError
from botocore.config import Config
from botocore.exceptions import ClientError
from google.api_core.exceptions import ServiceUnavailable
from google.pubsub_v1 import PublisherClient, SubscriberClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

from polybus.localcloud.servicebus import QueueOptions

from .conftest import Face

CLOUDS = ("aws", "azure", "gcp")
of_each = pytest.mark.parametrize("face", CLOUDS, indirect=True)


class Client:
    """One source with dead letters after `tries` tries, by the cloud's own library: what each test needs of it."""

    target: str
    source: str
    letters: str
    sending: str
    error: str
    raised: type[Exception]

    def send(self, text: str) -> None:
        raise NotImplementedError

    def receive(self) -> Any:
        """Return a message that is leased, or None."""
        raise NotImplementedError

    def done(self, message: Any) -> None:
        raise NotImplementedError

    def give_back(self, message: Any) -> None:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError


class Aws(Client):
    target = source = "jobs"
    letters = "letters"
    sending, error, raised = "SendMessage", "Throttling", ClientError

    def __init__(self, face: Face) -> None:
        kept = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": "us-east-1"}
        config = Config(retries={"total_max_attempts": 1})
        self.sqs = boto3.client("sqs", endpoint_url=face.server.url, config=config, **kept)
        self.sqs.create_queue(QueueName="letters")
        policy = {"deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:letters", "maxReceiveCount": 1}
        self.url = self.sqs.create_queue(QueueName="jobs", Attributes={"RedrivePolicy": json.dumps(policy)})["QueueUrl"]

    def send(self, text: str) -> None:
        attribute = {"n": {"DataType": "String", "StringValue": "1"}}
        self.sqs.send_message(QueueUrl=self.url, MessageBody=text, MessageAttributes=attribute)

    def receive(self) -> Any:
        return next(iter(self.sqs.receive_message(QueueUrl=self.url).get("Messages", [])), None)

    def done(self, message: Any) -> None:
        self.sqs.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])

    def give_back(self, message: Any) -> None:
        self.sqs.change_message_visibility(
            QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0
        )
        self.receive()  # SQS buries what was received too often when it is asked for again

    def close(self) -> None:
        self.sqs.close()


class Azure(Client):
    target = source = "jobs"
    letters = "jobs/$DeadLetterQueue"
    sending, error, raised = "send", "com.microsoft:server-busy", ServiceBusError

    def __init__(self, face: Face) -> None:
        face.server.entities.create_queue("jobs", QueueOptions(max_delivery_count=1))
        self.client = ServiceBusClient.from_connection_string(face.server.connection_string(), retry_total=0)
        self.sender = self.client.get_queue_sender("jobs")
        self.receiver = self.client.get_queue_receiver("jobs")

    def send(self, text: str) -> None:
        self.sender.send_messages(ServiceBusMessage(text, application_properties={"n": "1"}))

    def receive(self) -> Any:
        return next(iter(self.receiver.receive_messages(max_wait_time=1)), None)

    def done(self, message: Any) -> None:
        self.receiver.complete_message(message)

    def give_back(self, message: Any) -> None:
        self.receiver.abandon_message(message)

    def close(self) -> None:
        self.sender.close()
        self.receiver.close()
        self.client.close()
        del self.sender, self.receiver, self.client
        with warnings.catch_warnings():
            # The library leaves the socket of a connection that was cut to the garbage collector.
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()


class Gcp(Client):
    target, source, letters = "topics/jobs", "subscriptions/jobs", "subscriptions/letters"
    sending, error, raised = "Publish", "UNAVAILABLE", ServiceUnavailable

    def __init__(self, face: Face) -> None:
        self.channel = grpc.insecure_channel(f"{face.server.host}:{face.server.port}")
        self.publisher = PublisherClient(transport=PublisherGrpcTransport(channel=self.channel))
        self.subscriber = SubscriberClient(transport=SubscriberGrpcTransport(channel=self.channel))
        for name in ("jobs", "letters"):
            self.publisher.create_topic(name=f"projects/local/topics/{name}")
        policy = {"dead_letter_topic": "projects/local/topics/letters", "max_delivery_attempts": 5}
        for name, more in (("jobs", {"dead_letter_policy": policy}), ("letters", {})):
            given = {"name": f"projects/local/subscriptions/{name}", "topic": f"projects/local/topics/{name}", **more}
            self.subscriber.create_subscription(request=given)
        agent = {"members": ["serviceAccount:service-1@gcp-sa-pubsub.iam.gserviceaccount.com"]}
        for client, name, role in (
            (self.publisher, "topics/letters", "publisher"),
            (self.subscriber, "subscriptions/jobs", "subscriber"),
        ):
            policy_ = {"bindings": [{"role": f"roles/pubsub.{role}", **agent}]}
            client.set_iam_policy(request={"resource": f"projects/local/{name}", "policy": policy_})

    def send(self, text: str) -> None:
        message = {"data": text.encode(), "attributes": {"n": "1"}}
        self.publisher.publish(request={"topic": "projects/local/topics/jobs", "messages": [message]}, retry=None)

    def receive(self) -> Any:
        given = {"subscription": "projects/local/subscriptions/jobs", "max_messages": 1}
        return next(iter(self.subscriber.pull(request=given).received_messages), None)

    def done(self, message: Any) -> None:
        self.subscriber.acknowledge(subscription="projects/local/subscriptions/jobs", ack_ids=[message.ack_id])

    def give_back(self, message: Any) -> None:
        given = {"subscription": "projects/local/subscriptions/jobs", "ack_deadline_seconds": 0}
        for tries in range(5):  # as many as a policy takes at least
            message = self.receive() if tries else message
            self.subscriber.modify_ack_deadline(request={**given, "ack_ids": [message.ack_id]})

    def close(self) -> None:
        self.channel.close()


CLIENTS: dict[str, Callable[[Face], Client]] = {"aws": Aws, "azure": Azure, "gcp": Gcp}


@pytest.fixture
def client(face: Face) -> Iterator[Client]:
    found = CLIENTS[face.cloud](face)
    yield found
    found.close()


@of_each
def test_what_waits_is_out_and_is_done(face: Face, client: Client) -> None:
    client.send("one")
    assert [face.entity(client.source)[state] for state in ("waiting", "in_flight")] == [1, 0]
    [shown] = face.ask("GET", "messages", {"entity": client.source})["messages"]
    assert (shown["body"], shown["attributes"]["n"], shown["state"]) == ("one", "1", "waiting")
    message = client.receive()
    [leased] = face.ask("GET", "messages", {"entity": client.source})["messages"]
    assert (leased["state"], leased["until"] > leased["published"]) == ("in_flight", True)
    assert [face.entity(client.source)[state] for state in ("waiting", "in_flight")] == [0, 1]
    client.done(message)
    assert face.ask("GET", "messages", {"entity": client.source})["messages"] == []
    found = face.ask("GET", "events", {"entity": client.source, "timeout": 0})["events"]
    assert [event["kind"] for event in found] == ["published", "delivered", "consumed"]
    assert len({event["message"] for event in found}) == 1


@of_each
def test_a_wait_ends_with_what_it_waits_for(face: Face, client: Client) -> None:
    found: list[Any] = []
    query = {"kind": "consumed", "entity": client.source, "count": 1, "timeout": 50}
    waiting = threading.Thread(target=lambda: found.append(face.ask("GET", "events", query)))
    waiting.start()
    client.send("one")
    client.done(client.receive())
    waiting.join()
    assert (found[0]["complete"], [event["kind"] for event in found[0]["events"]]) == (True, ["consumed"])
    late = face.ask("GET", "events", {**query, "after": found[0]["last"], "timeout": 0})
    assert (late["complete"], late["events"]) == (False, [])


@of_each
def test_published_by_the_face_dead_lettered_and_redriven(face: Face, client: Client) -> None:
    sent = face.ask("POST", "messages", entity=client.target, body="one", attributes={"n": "1"})
    assert sent["id"]
    client.give_back(client.receive())
    letters = face.ask("GET", "messages", {"entity": client.letters})["messages"]
    assert [letter["body"] for letter in letters] == ["one"]
    kinds = {event["kind"] for event in face.ask("GET", "events", {"entity": client.source, "timeout": 0})["events"]}
    assert "dead_lettered" in kinds
    assert face.ask("POST", "redrive", entity=client.source) == {"redriven": 1}
    assert face.ask("GET", "messages", {"entity": client.letters})["messages"] == []
    [again] = face.ask("GET", "messages", {"entity": client.source})["messages"]
    assert (again["body"], again["attributes"], again["state"]) == ("one", {"n": "1"}, "waiting")
    client.done(client.receive())


@of_each
def test_calls_fail_as_often_as_is_asked(face: Face, client: Client) -> None:
    face.ask("POST", "faults", operation=client.sending, error=client.error, count=2)
    for _ in range(2):
        with pytest.raises(client.raised):
            client.send("one")
    client.send("two")
    face.ask("POST", "faults", operation=client.sending, error=client.error, count=9)
    face.ask("DELETE", "faults")
    client.send("three")
    assert face.entity(client.source)["waiting"] == 2


@of_each
def test_a_call_waits_until_the_clock_has_moved(face: Face, client: Client) -> None:
    client.send("one")  # the connection is there
    face.ask("POST", "faults", operation=client.sending, delay=500, count=1)
    sending = threading.Thread(target=client.send, args=("two",))
    sending.start()
    while sending.is_alive():  # it moves only so: each move is as long as the wait
        face.ask("POST", "clock", advance=500)
        sending.join(0.05)
    found = face.ask("GET", "messages", {"entity": client.source})["messages"]
    assert [message["body"] for message in found] == ["one", "two"]


@of_each
def test_a_lease_ends_with_the_clock(face: Face, client: Client) -> None:
    client.send("one")
    assert client.receive() is not None
    before = face.ask("GET", "clock")["time"]
    assert face.ask("POST", "clock", advance=120)["time"] >= before + 120
    states = [face.entity(client.source)["in_flight"]]
    while states[-1]:  # it falls due on the server's next turn
        states.append(face.entity(client.source)["in_flight"])
    assert states[-1] == 0


@of_each
def test_connections_are_cut_and_come_again(face: Face, client: Client) -> None:
    client.send("one")
    face.ask("DELETE", "connections")
    for _ in range(10):
        try:
            client.send("two")
            break
        except Exception as error:  # noqa: BLE001 - each library says it in its own way
            found = error
    else:
        raise AssertionError(found)
    assert face.entity(client.source)["waiting"] == 2


@of_each
def test_a_snapshot_comes_back_whole(face: Face, client: Client) -> None:
    client.send("one")
    client.send("two")
    face.ask("POST", "snapshots", name="two")
    client.done(client.receive())
    client.send("three")
    assert face.ask("GET", "snapshots") == {"snapshots": ["two"]}
    face.ask("POST", "restore", name="two")
    found = face.ask("GET", "messages", {"entity": client.source})["messages"]
    assert [message["body"] for message in found] == ["one", "two"]
    face.ask("DELETE", "snapshots", name="two")
    assert face.refused("POST", "restore", name="two")[0] == 400


@of_each
def test_nothing_without_the_token_and_refusals_say_why(face: Face) -> None:
    for token in ("", "another"):
        with pytest.raises(HTTPError) as caught:
            face.raw("GET", f"/v1/{face.cloud}/entities", token=token)
        with caught.value as error:
            assert error.code == 401
    assert json.loads(face.raw("GET", "/v1")) == {"clouds": [face.cloud]}
    assert face.refused("GET", "nothing")[0] == 404
    assert face.refused("GET", "messages", {"entity": "none"})[0] == 400
    assert face.refused("GET", "messages") == (400, "entity is missing, or no text")
    assert face.refused("POST", "faults", operation="Nothing", error="x")[0] == 400
    assert face.refused("POST", "faults", operation="Nothing")[0] == 400
    assert face.refused("GET", "events", {"kind": "lost"})[0] == 400
    assert face.refused("POST", "messages", entity="none", body="x", attributes={"a": 1})[0] == 400
    assert face.refused("POST", "clock", advance=-1)[0] == 400


@pytest.mark.parametrize("face", ["aws"], indirect=True)
def test_tests_that_look_into_queues_as_localstack_has_it(face: Face, client: Client) -> None:
    client.send("one")
    client.send("<two>")
    url = f"{face.server.url}/_aws/sqs/messages?QueueUrl={client.url}"

    def look(more: str = "", **headers: str) -> str:
        with urlopen(Request(url + more, headers=headers), timeout=60) as answer:
            found: str = answer.read().decode()
            return found

    assert "<Body>&lt;two&gt;</Body>" in look()
    client.receive()
    document = json.loads(look(Accept="application/json"))["ReceiveMessageResponse"]["ReceiveMessageResult"]
    assert [message["Body"] for message in document["Message"]] == ["<two>"]
    assert document["Message"][0]["ReceiptHandle"] == "SQS/BACKDOOR/ACCESS"
    assert look("&ShowInvisible=true").count("<Message>") == 2
    by_sdk = boto3.client(
        "sqs", "us-east-1", endpoint_url=f"{face.server.url}/_aws/sqs/messages", aws_access_key_id="a",
        aws_secret_access_key="b",
    )  # fmt: skip
    found = by_sdk.receive_message(QueueUrl=client.url, MaxNumberOfMessages=10)["Messages"]
    assert [message["Body"] for message in found] == ["<two>"]
    by_sdk.close()
    with pytest.raises(HTTPError) as caught:
        look("x")
    with caught.value as error:
        assert error.code == 400
