"""`polybus check --live` on the local AWS server: it tells exactly what is not as declared."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import botocore.client
import msgspec
import pytest

from polybus.binding import Binding
from polybus.clock import SystemClock
from polybus.clouds.aws.local import realise
from polybus.clouds.aws.plan.resources import AwsSettings, plan
from polybus.localcloud.aws.server import AwsServer
from polybus.localcloud.aws.sns.subscription import Subscription
from polybus.localcloud.server import ThreadedServer
from polybus.topology.file import load

from .live_drifts import drifts

TOPOLOGY = """
[bus]
name = "shop"

[topics.orders]
ordered = true

[topics.news]

[subscriptions.billing]
topic = "orders"
filter = 'region in ("eu", "uk") and not exists(test)'

[subscriptions.reader]
topic = "news"

[queues.jobs]
lease = "30s"

[services.worker]
consumes = ["billing", "jobs"]

[alarms]
"""
PUSH = """
[subscriptions.hook]
topic = "news"
push = { https = "https://example.com/hook", raw = true }

[subscriptions.mailer]
topic = "news"
push = { function = "mailer" }
"""


class Account:
    """A realised topology, and boto3's clients to change what is there."""

    def __init__(self, folder: Path, endpoint: str) -> None:
        self.topology = folder / "polybus.toml"
        self.endpoint = endpoint
        self.realise(TOPOLOGY)
        self.sns: Any = boto3.client("sns", endpoint_url=endpoint)
        self.sqs: Any = boto3.client("sqs", endpoint_url=endpoint)

    def realise(self, text: str, key: str | None = None) -> None:
        """Make what a topology declares, and write its binding where commands find it."""
        self.topology.write_text(text)
        functions = {"mailer": "arn:aws:lambda:us-east-1:000000000000:function:mailer"}
        settings = AwsSettings(stack="dev", region="us-east-1", kms_key=key, functions=functions)
        made = realise(plan(load(self.topology), settings), endpoint=self.endpoint)
        self.binding = msgspec.structs.replace(made, settings={**made.settings, "endpoint": self.endpoint})
        (self.topology.parent / "polybus.binding.json").write_text(self.binding.to_json())

    def subscription(self, topic: str, protocol: str = "sqs") -> str:
        arn = self.binding.topics[topic].address
        found = self.sns.list_subscriptions_by_topic(TopicArn=arn)["Subscriptions"]
        return next(item["SubscriptionArn"] for item in found if item["Protocol"] == protocol)

    def set(self, url: str, **attributes: str) -> None:
        self.sqs.set_queue_attributes(QueueUrl=url, Attributes=attributes)


@pytest.fixture
def account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "local")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.chdir(tmp_path)
    server = AwsServer(clock=SystemClock())
    running = ThreadedServer(server)
    running.start()
    made = Account(tmp_path, f"http://{server.host}:{server.port}")
    yield made
    made.sns.close()
    made.sqs.close()
    running.stop()


def test_what_was_just_made_is_as_declared(cli: Callable, account: Account) -> None:
    result = cli("check", "--live")
    assert result.code == 0, result.out
    assert result.out == "aws: 24 resources are as declared\n"
    assert result.err.startswith("polybus: not compared, only Pulumi reads it")
    found = cli("check", "--live", "--json").json()
    assert (found["ok"], found["stack"]) == (True, "dev")
    assert set(found["not_compared"]) == {"alarm", "dashboard"}


def test_an_attribute_of_a_queue(cli: Callable, account: Account) -> None:
    account.set(account.binding.queues["jobs"].address, VisibilityTimeout="31", ReceiveMessageWaitTimeSeconds="0")
    result = cli("check", "--live")
    assert result.code == 1
    assert "visibility_timeout_seconds: planned 30, found 31" in result.out
    assert "receive_wait_time_seconds: planned 20, found 0" in result.out
    assert result.out.count("changed") == 1
    assert "1 thing is not as declared" in result.err


def test_a_filter_policy_that_is_gone(cli: Callable, account: Account) -> None:
    arn = account.subscription("orders")
    account.sns.set_subscription_attributes(SubscriptionArn=arn, AttributeName="FilterPolicy", AttributeValue="{}")
    assert drifts(cli) == [("changed", "delivery", "subscriptions.billing", ["filter_policy"])]


def test_a_filter_policy_that_is_only_written_otherwise(cli: Callable, account: Account) -> None:
    again = json.dumps({"test": [{"exists": False}], "region": ["uk", "eu"]}, indent=4)
    arn = account.subscription("orders")
    account.sns.set_subscription_attributes(SubscriptionArn=arn, AttributeName="FilterPolicy", AttributeValue=again)
    assert drifts(cli) == []


def test_a_subscription_that_was_deleted(cli: Callable, account: Account) -> None:
    account.sns.unsubscribe(SubscriptionArn=account.subscription("news"))
    assert drifts(cli) == [("missing", "delivery", "subscriptions.reader", [])]


def test_a_subscription_that_nobody_planned(cli: Callable, account: Account) -> None:
    url = account.sqs.create_queue(QueueName="foreign")["QueueUrl"]
    arn = account.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    account.sns.subscribe(TopicArn=account.binding.topics["news"].address, Protocol="sqs", Endpoint=arn)
    assert drifts(cli) == [("extra", "subscription", "", [])]
    assert f"sqs:{arn}" in cli("check", "--live").out


def test_a_queue_that_was_deleted(cli: Callable, account: Account) -> None:
    account.sqs.delete_queue(QueueUrl=account.binding.queues["jobs"].dead_letter)
    found = drifts(cli)
    assert ("missing", "dead letters", "queues.jobs", []) in found
    assert {entry for _, _, entry, _ in found} == {"queues.jobs"}
    assert {kind for kind, *_ in found} == {"missing"}


def test_access_that_was_widened(cli: Callable, account: Account) -> None:
    url = account.binding.queues["jobs"].address
    attributes = account.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"])["Attributes"]
    policy = json.loads(attributes["Policy"])
    open_ = {"Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage", "Resource": "*"}
    account.set(url, Policy=json.dumps({**policy, "Statement": [*policy["Statement"], open_]}))
    [access] = cli("check", "--live", "--json").json()["drifts"]
    assert (access["kind"], access["resource"], access["entry"]) == ("changed", "access", "queues.jobs")
    [part] = access["differences"]
    assert (part["property"], part["planned"]) == ("policy.Statement", "")
    assert part["found"] == "[{Effect: Allow, Principal: {AWS: *}, Action: sqs:sendmessage, Resource: *}]"


def test_a_redrive_policy_and_encryption_that_were_taken_away(cli: Callable, account: Account) -> None:
    url = account.binding.queues["jobs"].address
    account.set(url, RedrivePolicy="", SqsManagedSseEnabled="false")
    assert drifts(cli) == [
        ("changed", "queue", "queues.jobs", ["encryption"]),
        ("missing", "redrive", "queues.jobs", []),
    ]


def test_an_endpoint_that_has_not_consented_is_drift(cli: Callable, account: Account) -> None:
    account.realise(TOPOLOGY + PUSH)
    assert drifts(cli) == [("changed", "push", "subscriptions.hook", ["status"])]
    said = cli("check", "--live").err
    assert "https:https://example.com/hook waits to be confirmed" in said
    assert "nothing is delivered" in said
    assert "pulumi up" not in said
    account.sns.unsubscribe(SubscriptionArn=account.subscription("news", "lambda"))
    assert ("missing", "push", "subscriptions.mailer", []) in drifts(cli)


def test_a_signature_that_was_weakened(cli: Callable, account: Account) -> None:
    account.realise(TOPOLOGY + PUSH.replace(", raw = true", ""))
    topic = account.binding.topics["news"].address
    assert account.sns.get_topic_attributes(TopicArn=topic)["Attributes"]["SignatureVersion"] == "2"
    account.sns.set_topic_attributes(TopicArn=topic, AttributeName="SignatureVersion", AttributeValue="1")
    assert ("changed", "topic", "topics.news", ["signature_version"]) in drifts(cli)


def test_who_hears_of_alarms_and_has_not_consented_is_only_said(cli: Callable, account: Account) -> None:
    account.realise(TOPOLOGY.replace("[alarms]", '[alarms]\nnotify = { email = "ops@example.com" }'))
    result = cli("check", "--live")
    assert (result.code, result.out) == (0, "aws: 27 resources are as declared\n")
    assert "polybus: email:ops@example.com waits to be confirmed" in result.err
    found = cli("check", "--live", "--json").json()
    assert (found["ok"], found["drifts"]) == (True, [])
    assert [waiting["address"] for waiting in found["waiting"]] == ["email:ops@example.com"]


def test_a_subscription_that_its_endpoint_ended_is_missing_though_sns_lists_it_still(
    cli: Callable, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = Subscription.listed

    def ended(self: Subscription) -> dict[str, str]:
        return {**listed(self), "SubscriptionArn": "Deleted"} if self.protocol == "email" else listed(self)

    account.realise(TOPOLOGY.replace("[alarms]", '[alarms]\nnotify = { email = "ops@example.com" }'))
    monkeypatch.setattr(Subscription, "listed", ended)
    assert drifts(cli) == [("missing", "alarm", "alarms", [])]


def test_more_tags_are_no_drift_but_ours_are_needed(cli: Callable, account: Account) -> None:
    url = account.binding.queues["jobs"].address
    account.sqs.tag_queue(QueueUrl=url, Tags={"cost": "7"})
    assert drifts(cli) == []
    account.sqs.untag_queue(QueueUrl=url, TagKeys=["polybus-bus"])
    assert drifts(cli) == [("changed", "queue", "queues.jobs", ["tags"])]


KEY = "arn:aws:kms:us-east-1:000000000000:key/k"


def test_a_key_policy_that_can_not_be_read_is_said(cli: Callable, account: Account) -> None:
    account.realise(TOPOLOGY.replace('"shop"', '"keyed"'), KEY)
    result = cli("check", "--live")
    assert result.code == 0
    assert f"polybus: not compared: key policy {KEY}: kms:GetKeyPolicy: " in " ".join(result.err.split())
    [line] = cli("check", "--live", "--json").json()["closed"]
    assert line.startswith(f"key policy {KEY}: ")


def test_a_key_that_keeps_sns_out_is_drift(cli: Callable, account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    account.realise(TOPOLOGY.replace('"shop"', '"keyed"'), KEY)
    real = botocore.client.BaseClient._make_api_call
    allow = {"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "kms:*"}
    theirs = {**allow, "Condition": {"ArnEquals": {"aws:SourceArn": account.binding.topics["orders"].address}}}
    policies = [json.dumps({"Statement": [theirs]}), json.dumps({"Statement": [theirs, allow]})]

    def answered(client: Any, operation: str, given: Any) -> Any:
        if operation == "GetKeyPolicy":
            assert given == {"KeyId": KEY, "PolicyName": "default"}
            return {"Policy": policies.pop(0)}
        return real(client, operation, given)

    monkeypatch.setattr(botocore.client.BaseClient, "_make_api_call", answered)
    found = cli("check", "--live", "--json").json()
    [drift] = found["drifts"]
    assert (drift["kind"], drift["resource"], drift["address"]) == ("changed", "key policy", KEY)
    assert "for keyed-dev-news" in drift["differences"][0]["planned"]
    assert cli("check", "--live").code == 0  # the second policy lets all topics of it in


def test_what_bears_our_tags_and_is_not_planned(cli: Callable, account: Account) -> None:
    tags = {"polybus-bus": "shop", "polybus-stack": "dev"}
    account.sqs.create_queue(QueueName="shop-dev-old", tags=tags)
    account.sqs.create_queue(QueueName="shop-prod-old", tags={**tags, "polybus-stack": "prod"})
    account.sns.create_topic(Name="shop-dev-old", Tags=[{"Key": key, "Value": value} for key, value in tags.items()])
    assert drifts(cli) == [("extra", "topic", "", []), ("extra", "queue", "", [])]


def test_an_entry_that_was_declared_since_and_one_that_no_longer_is(cli: Callable, account: Account) -> None:
    account.topology.write_text(TOPOLOGY.replace("queues.jobs", "queues.tasks").replace('"jobs"', '"tasks"'))
    found = drifts(cli)
    assert ("missing", "queue", "queues.tasks", []) in found
    assert ("extra", "queue", "", []) in found
    assert {kind for kind, *_ in found} == {"missing", "extra"}
    assert "made from another topology" in cli("check", "--live").err


def test_a_wrong_stack_is_seen(cli: Callable, account: Account) -> None:
    result = cli("check", "--live", "--stack", "prod", "--json")
    assert result.code == 1
    assert {edit["planned"] for drift in result.json()["drifts"] for edit in drift["differences"]} >= {"shop-prod-jobs"}


def test_an_embedded_store_has_no_cloud(cli: Callable, shop: Any) -> None:
    result = cli("check", "--live")
    assert (result.code, result.out) == (1, "")
    assert "the sqlite backend has no cloud to compare with" in result.err


def test_no_server(cli: Callable, account: Account) -> None:
    binding = Binding.from_file(account.topology.parent / "polybus.binding.json")
    gone = msgspec.structs.replace(binding, settings={**binding.settings, "endpoint": "http://127.0.0.1:9"})
    (account.topology.parent / "gone.json").write_text(gone.to_json())
    result = cli("check", "--live", "--binding", "gone.json")
    assert (result.code, result.out) == (1, "")
    assert "unavailable" in result.err
    assert result.err.count("\n") == 1


def test_of_what_is_adopted_only_that_it_is_there(cli: Callable, account: Account) -> None:
    url = account.sqs.create_queue(QueueName="theirs", Attributes={"VisibilityTimeout": "7"})["QueueUrl"]
    queue = account.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    topic = account.sns.create_topic(Name="theirs")["TopicArn"]
    account.sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=f"{queue}-elsewhere")
    text = TOPOLOGY.replace('lease = "30s"', f'existing = "{queue}"')
    account.realise(text.replace("[topics.news]", f'[topics.news]\nexisting = "{topic}"'))
    old = account.sqs.list_queues(QueueNamePrefix="shop-dev-jobs")["QueueUrls"]
    account.sqs.delete_queue(QueueUrl=next(url for url in old if url.endswith("jobs")))
    news = next(arn["TopicArn"] for arn in account.sns.list_topics()["Topics"] if arn["TopicArn"].endswith("-news"))
    account.sns.delete_topic(TopicArn=news)
    assert drifts(cli) == []
    account.sns.delete_topic(TopicArn=topic)
    account.sqs.delete_queue(QueueUrl=url)
    assert drifts(cli) == [
        ("missing", "adopted topic", "topics.news", []),
        ("missing", "adopted queue", "queues.jobs", []),
        ("missing", "delivery", "subscriptions.reader", []),
        ("missing", "redrive", "queues.jobs", []),
    ]
