"""The REST API, as Terraform's provider and libraries without gRPC call it, on what the gRPC services have."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import grpc
import pytest
from google.api_core import exceptions
from google.auth.credentials import AnonymousCredentials
from google.pubsub_v1 import PublisherClient, SchemaServiceClient, SubscriberClient

from polybus.localcloud.pubsub.rest import BINDINGS

TOPIC, SUBSCRIPTION = "projects/local/topics/orders", "projects/local/subscriptions/billing"


class Rest:
    def __init__(self, server: Any) -> None:
        self.server = server

    def __call__(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = Request(f"http://{self.server.host}:{self.server.rest_port}/v1/{path}", data, method=method)
        with urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())

    def refused(self, method: str, path: str, body: Any = None) -> tuple[int, str]:
        with pytest.raises(HTTPError) as caught:
            self(method, path, body)
        with caught.value as error:
            told = json.loads(error.read())["error"]
            assert told["code"] == error.code
            assert told["message"]
            return error.code, told["status"]


@pytest.fixture
def rest(server) -> Rest:
    return Rest(server)


def test_a_topic_and_a_subscription_live_as_with_terraform(rest, rig):
    assert rest("PUT", TOPIC, {"name": TOPIC, "labels": {"a": "1"}})["name"] == TOPIC
    assert rig.publisher.get_topic(topic=TOPIC).labels == {"a": "1"}
    assert rest.refused("PUT", TOPIC, {}) == (409, "ALREADY_EXISTS")
    changed = {"topic": {"labels": {"a": "2"}, "messageRetentionDuration": "86400s"}}
    answer = rest("PATCH", f"{TOPIC}?updateMask=labels,messageRetentionDuration&alt=json", changed)
    assert (answer["labels"], answer["messageRetentionDuration"]) == ({"a": "2"}, "86400s")
    made = {
        "topic": TOPIC,
        "ackDeadlineSeconds": 20,
        "expirationPolicy": {"ttl": "2592000s"},
        "retryPolicy": {"minimumBackoff": "1s"},
        "filter": 'attributes.region = "eu"',
        "enableMessageOrdering": True,
    }
    shown = rest("PUT", SUBSCRIPTION, made)
    assert shown["ackDeadlineSeconds"] == 20
    assert shown["retryPolicy"] == {"minimumBackoff": "1s", "maximumBackoff": "600s"}
    assert (shown["state"], shown["pushConfig"]) == ("ACTIVE", {})
    patch = {"subscription": {"ackDeadlineSeconds": 30}, "updateMask": "ack_deadline_seconds"}
    assert rest("PATCH", SUBSCRIPTION, patch)["ackDeadlineSeconds"] == 30
    assert rest("GET", f"{TOPIC}/subscriptions") == {"subscriptions": [SUBSCRIPTION]}
    assert [one["name"] for one in rest("GET", "projects/local/subscriptions")["subscriptions"]] == [SUBSCRIPTION]
    assert rest("DELETE", SUBSCRIPTION) == {}
    assert rest("DELETE", TOPIC) == {}
    assert rest.refused("GET", TOPIC) == (404, "NOT_FOUND")


def test_messages_pass_between_both_faces(rest, rig):
    rest("PUT", TOPIC, {})
    rest("PUT", SUBSCRIPTION, {"topic": TOPIC})
    body = base64.b64encode(b"one").decode()
    ids = rest("POST", f"{TOPIC}:publish", {"messages": [{"data": body, "attributes": {"n": "1"}}]})["messageIds"]
    [found] = rig.subscriber.pull(subscription=SUBSCRIPTION, max_messages=1).received_messages
    assert (found.message.data, [found.message.message_id]) == (b"one", ids)
    rig.subscriber.modify_ack_deadline(subscription=SUBSCRIPTION, ack_ids=[found.ack_id], ack_deadline_seconds=0)
    [again] = rest("POST", f"{SUBSCRIPTION}:pull", {"maxMessages": 5})["receivedMessages"]
    assert (again["message"]["data"], again["message"]["attributes"]) == (body, {"n": "1"})
    rest("POST", f"{SUBSCRIPTION}:modifyAckDeadline", {"ackIds": [again["ackId"]], "ackDeadlineSeconds": 60})
    assert rest("POST", f"{SUBSCRIPTION}:acknowledge", {"ackIds": [again["ackId"]]}) == {}
    assert rest("POST", f"{SUBSCRIPTION}:pull", {"maxMessages": 5, "returnImmediately": True}) == {}


def test_policies_snapshots_and_schemas(rest, rig):
    rest("PUT", TOPIC, {})
    rest("PUT", SUBSCRIPTION, {"topic": TOPIC})
    binding = {"role": "roles/pubsub.publisher", "members": ["user:a@b.c"]}
    set_ = rest("POST", f"{TOPIC}:setIamPolicy", {"policy": {"bindings": [binding]}})
    assert rest("GET", f"{TOPIC}:getIamPolicy?options.requestedPolicyVersion=3") == set_
    granted = rest("POST", f"{TOPIC}:testIamPermissions", {"permissions": ["pubsub.topics.publish"]})
    assert granted == {"permissions": ["pubsub.topics.publish"]}
    snapshot = "projects/local/snapshots/first"
    assert rest("PUT", snapshot, {"subscription": SUBSCRIPTION})["topic"] == TOPIC
    assert rest("GET", f"{TOPIC}/snapshots") == {"snapshots": [snapshot]}
    rest("POST", f"{SUBSCRIPTION}:seek", {"snapshot": snapshot})
    made = rest("POST", "projects/local/schemas?schemaId=order", {"type": "AVRO", "definition": '"string"'})
    name = made["name"]
    assert (name, made["type"]) == ("projects/local/schemas/order", "AVRO")
    assert rest("GET", f"{name}?view=BASIC").get("definition") is None
    rest("POST", f"{name}:commit", {"schema": {"name": name, "type": "AVRO", "definition": '"long"'}})
    revisions = rest("GET", f"{name}:listRevisions?view=FULL&pageSize=1")
    assert [one["definition"] for one in revisions["schemas"]] == ['"long"']
    assert rest("GET", f"{name}@{made['revisionId']}")["definition"] == '"string"'
    message = {"name": name, "encoding": "JSON", "message": base64.b64encode(b"1").decode()}
    assert rest("POST", "projects/local/schemas:validateMessage", message) == {}
    rest("DELETE", f"{name}@{made['revisionId']}:deleteRevision")
    assert rest("DELETE", name) == {}
    assert rest("GET", "projects/local/schemas") == {}


def test_what_is_none_of_it_is_refused(rest):
    for method, path in (
        ("GET", "projects/local/nothing"),
        ("GET", "projects"),
        ("POST", f"{TOPIC}:nothing"),
        ("GET", f"{TOPIC}:"),
        ("PUT", "topics/a"),
        ("GET", f"{TOPIC}/subscriptions/more"),
    ):
        assert rest.refused(method, path) == (404, "NOT_FOUND"), path
    assert rest.refused("PUT", TOPIC, {"nothing": 1}) == (400, "INVALID_ARGUMENT")
    assert rest.refused("PUT", TOPIC, [1]) == (400, "INVALID_ARGUMENT")
    assert rest.refused("GET", "projects/local/topics?pageSize=x") == (400, "INVALID_ARGUMENT")
    assert rest.refused("GET", "projects/local/topics?more=x") == (400, "INVALID_ARGUMENT")
    assert rest.refused("PUT", "projects/local/topics/a", {}) == (400, "INVALID_ARGUMENT")  # too short a name
    rest("PUT", TOPIC, {})
    assert rest.refused("PATCH", f"{TOPIC}?updateMask=labels", {"topic": "x"}) == (400, "INVALID_ARGUMENT")
    transforms = {"messageTransforms": [{"javascriptUdf": {"functionName": "f", "code": "x"}}]}
    assert rest.refused("PUT", f"{TOPIC}2", transforms) == (501, "UNIMPLEMENTED")


def test_failures_that_were_asked_for_are_those_of_both_faces(rest, server):
    server.fail_next("CreateTopic", grpc.StatusCode.UNAVAILABLE)
    assert rest.refused("PUT", TOPIC, {}) == (503, "UNAVAILABLE")
    rest("PUT", TOPIC, {})


OTHER = {"AUTH_SCOPES", "DEFAULT_HOST", "close", "host", "kind"}


@pytest.mark.parametrize("client", [PublisherClient, SubscriberClient, SchemaServiceClient])
def test_every_method_that_the_library_has_over_rest_is_there(client):
    methods = {binding.method for binding in BINDINGS.values()}
    names = {name for name in dir(client.get_transport_class("rest")) if not name.startswith("_")} - OTHER
    found = {"".join(part.capitalize() for part in name.split("_")) for name in names}
    assert found - methods <= {"StreamingPull"}


def test_the_library_s_own_rest_clients_reach_it(rest):
    way = {"host": f"127.0.0.1:{rest.server.rest_port}", "url_scheme": "http", "credentials": AnonymousCredentials()}
    publisher = PublisherClient(transport=PublisherClient.get_transport_class("rest")(**way))
    subscriber = SubscriberClient(transport=SubscriberClient.get_transport_class("rest")(**way))
    schemas = SchemaServiceClient(transport=SchemaServiceClient.get_transport_class("rest")(**way))
    topic = publisher.create_topic(name=TOPIC)
    subscriber.create_subscription(name=SUBSCRIPTION, topic=topic.name)
    publisher.publish(topic=TOPIC, messages=[{"data": b"one"}])
    [found] = subscriber.pull(subscription=SUBSCRIPTION, max_messages=1).received_messages
    assert found.message.data == b"one"
    subscriber.acknowledge(subscription=SUBSCRIPTION, ack_ids=[found.ack_id])
    changed = {"subscription": {"name": SUBSCRIPTION, "ack_deadline_seconds": 60}}
    mask = {"update_mask": {"paths": ["ack_deadline_seconds"]}}
    assert subscriber.update_subscription(request={**changed, **mask}).ack_deadline_seconds == 60
    assert [one.name for one in publisher.list_topics(project="projects/local")] == [TOPIC]
    made = schemas.create_schema(
        parent="projects/local", schema={"type_": "AVRO", "definition": '"string"'}, schema_id="order"
    )
    assert schemas.get_schema(name=made.name).definition == '"string"'
    with pytest.raises(exceptions.NotFound):
        publisher.get_topic(topic=f"{TOPIC}2")
    for client in (publisher, subscriber, schemas):
        client.transport.close()
