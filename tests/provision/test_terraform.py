"""What `polybus export terraform` writes, with the real AWS provider of Terraform as referee, on the local AWS server.

The provider waits some 25 s for each queue, policy and redrive policy, so a small stack is all that every run has;
`make soak` (scale 1) has the rest: every topology of the repository, random ones, and the life of a stack.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal
from unittest import mock

import boto3
import pytest
from hypothesis import Phase, given, seed, settings
from tests.unit.plan.everything import Stack, stacks

import polybus
from polybus.bus.bus import Bus
from polybus.clouds.aws.local import realise
from polybus.clouds.aws.plan import resources as aws
from polybus.clouds.aws.plan.planning import PLANNING
from polybus.clouds.aws.plan.terraform import TERRAFORM
from polybus.localcloud.aws.server import AwsServer
from polybus.localcloud.server import running_in_thread
from polybus.plan.terraform.document import document, outputs_of
from polybus.topology.file import load, loads
from polybus.topology.model import Topology

from . import flow
from .terraform_cli import ABSENT, REGION, VERSION, Terraform

ROOT = Path(__file__).parents[2]
SCALE = float(os.environ.get("POLYBUS_SOAK_SCALE", "0.02"))
WHOLE = SCALE >= 1
SEED = 20_261_128
RANDOM = 12  # topologies at scale 1
LEAST, MOST = 10, 100  # resources of one: many that are made up are nearly empty
AT_ONCE = 8  # what they take is mostly waiting

SMALL = """
[bus]
name = "shop"
[topics.orders]
ordered = true
[subscriptions.billing]
topic = "orders"
filter = 'region == "eu"'
lease = "30s"
[services.till]
publishes = ["orders"]
consumes = ["billing"]
operates = ["billing"]
"""


@pytest.fixture
def server() -> Iterator[AwsServer]:
    with running_in_thread(AwsServer(region=REGION)) as server:
        yield server


@pytest.fixture
def terraform(server: AwsServer, tmp_path: Path) -> Terraform:
    return Terraform(tmp_path / "terraform", server)


def export(folder: Path, topology: str, stack: str = "dev") -> str:
    """Call the command as a person does; return what it says on stderr."""
    home = folder.parent
    (home / "polybus.toml").write_text(topology)
    (home / "stack.toml").write_text(f'cloud = "aws"\n"aws:region" = "{REGION}"\n')
    arguments = ["--config", "stack.toml", "--stack", stack, "--out", str(folder), "--provider-version", VERSION]
    command = [sys.executable, "-m", "polybus.cli.main", "export", "terraform", *arguments]
    return subprocess.run(command, cwd=home, capture_output=True, text=True, check=True).stderr


@asynccontextmanager
async def connected(terraform: Terraform, server: AwsServer, service: str) -> AsyncIterator[Bus]:
    """Connect as a service does, by Terraform's output."""
    binding = await asyncio.to_thread(terraform.output, "polybus")
    # botocore checks every request, and long polls are short: a drain waits for one that is under way.
    binding["settings"] |= {"validate": True, "long_poll": 1}
    credentials = {**server.env(), "AWS_ACCESS_KEY_ID": "owner"}
    with mock.patch.dict(os.environ, credentials):
        async with polybus.connect(json.dumps(binding), service=service) as bus:
            yield bus


def test_where_the_referee_is_missing_the_summary_says_so(say: Callable[[str], None]) -> None:
    if ABSENT:
        say(f"the export to Terraform under its real AWS provider: not run, {ABSENT}")
    else:
        say(f"the export to Terraform under its real AWS provider {VERSION}: all of a stack")


if not ABSENT:

    async def test_a_small_stack_is_valid_is_made_has_no_drift_and_works(
        terraform: Terraform, server: AwsServer
    ) -> None:
        said = export(terraform.folder, SMALL)
        assert "max_message_size" in said
        await asyncio.to_thread(terraform.init)
        assert await asyncio.to_thread(terraform.validate) == []
        await asyncio.to_thread(terraform.apply)
        assert await asyncio.to_thread(terraform.settled)
        async with connected(terraform, server, "till") as bus:
            await small_flow(bus, "eu", "us")


async def small_flow(bus: Bus, wanted: str, other: str) -> None:
    """Publish, filter, order, dead-letter and redrive."""
    sent = []
    for number in range(8):
        region = (wanted, other)[number % 2]
        identity = await bus.publish("orders", str(number), attributes={"region": region}, ordering_key="customer")
        sent.append((identity, region))
    taken = await flow.take(bus, "billing", 4)
    assert [delivery.id for delivery in taken] == [identity for identity, region in sent if region == wanted]
    poison = await bus.publish("orders", "poison", attributes={"region": wanted}, ordering_key="customer")
    await flow.fail(bus, "billing")
    letters = [peeked async for peeked in bus.dead_letters("billing").peek()]
    assert [(letter.message.id, letter.reason) for letter in letters] == [(poison, "Unpaid")]
    assert await bus.dead_letters("billing").redrive() == 1
    [again] = await flow.take(bus, "billing", 1)
    assert (again.id, again.redelivered) == (poison, True)


# -- The whole, for `make soak` ----------------------------------------------------------------------------------------


def written(topology: Topology, chosen: aws.AwsSettings) -> dict[str, Any]:
    plan = aws.plan(topology, chosen)
    outputs = outputs_of(plan, PLANNING)
    whole = document(plan, TERRAFORM, outputs=outputs, settings=chosen, title="a test", version=VERSION)
    return dict(whole.document)


def state(server: AwsServer) -> dict[str, Any]:
    """Read all that is on a server, by boto3; but for what counts, when it was made, and what a version can't say."""
    with clients(server) as (sqs, sns):
        queues = {url.rpartition("/")[2]: _queue(sqs, url) for url in sqs.list_queues().get("QueueUrls", [])}
        topics = {one["TopicArn"]: _topic(sns, one["TopicArn"]) for one in sns.list_topics()["Topics"]}
        subscribed = [_subscription(sns, one) for one in sns.list_subscriptions()["Subscriptions"]]
        return {"queues": queues, "topics": topics, "subscriptions": sorted(subscribed, key=repr)}


@contextmanager
def clients(server: AwsServer) -> Iterator[tuple[Any, Any]]:
    """Give boto3's clients of SQS and SNS."""
    with closing(client(server, "sqs")) as sqs, closing(client(server, "sns")) as sns:
        yield sqs, sns


def client(server: AwsServer, service: str) -> Any:
    given = {"aws_access_key_id": "local", "aws_secret_access_key": "local", "region_name": REGION}
    return boto3.client(service, endpoint_url=server.url, **given)


_DOCUMENTS = (
    "Policy",
    "RedrivePolicy",
    "RedriveAllowPolicy",
    "FilterPolicy",
    "DeliveryPolicy",
    "EffectiveDeliveryPolicy",
)
_OWN = ("Timestamp", "Approximate", "MaximumMessageSize", "SubscriptionArn", "Subscriptions", "Owner", "Pending")


# What SNS logs, and as whom: the provider says it of each topic, and roles are of the server that they are on.
_LOGGED = ("SuccessFeedbackSampleRate", "FeedbackRoleArn")


def _read(attributes: Mapping[str, str]) -> dict[str, Any]:
    own = (*_OWN, *_LOGGED)
    kept = {name: value for name, value in attributes.items() if not any(part in name for part in own)}
    return {name: json.loads(value) if name in _DOCUMENTS and value else value for name, value in kept.items()}


def _queue(sqs: Any, url: str) -> dict[str, Any]:
    found = _read(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"])
    return {**found, "tags": sqs.list_queue_tags(QueueUrl=url).get("Tags", {})}


def _topic(sns: Any, arn: str) -> dict[str, Any]:
    found = _read(sns.get_topic_attributes(TopicArn=arn)["Attributes"])
    tags = sns.list_tags_for_resource(ResourceArn=arn)["Tags"]
    return {**found, "tags": {one["Key"]: one["Value"] for one in tags}}


def _subscription(sns: Any, one: Mapping[str, str]) -> dict[str, Any]:
    found = {name: one[name] for name in ("Protocol", "Endpoint", "TopicArn")}
    if not one["SubscriptionArn"].startswith("arn:"):
        return found
    return {**found, **_read(sns.get_subscription_attributes(SubscriptionArn=one["SubscriptionArn"])["Attributes"])}


def same_as_made_by_polybus(server: AwsServer, topology: Topology, chosen: aws.AwsSettings) -> None:
    """Hold what Terraform made to what the plan makes through boto3 on another server."""
    with running_in_thread(AwsServer(region=REGION)) as other:
        realise(aws.plan(topology, chosen), endpoint=other.url, region=REGION)
        found = list(differences(state(server), state(other)))
        assert found == [], "\n".join(found)


def differences(here: Any, there: Any, path: str = "$") -> Iterator[str]:
    """Say where two states differ."""
    if isinstance(here, dict) and isinstance(there, dict):
        for name in sorted({*here, *there}):
            yield from differences(here.get(name), there.get(name), f"{path}.{name}")
    elif isinstance(here, list) and isinstance(there, list) and len(here) == len(there):
        for at, (one, other) in enumerate(zip(here, there, strict=True)):
            yield from differences(one, other, f"{path}[{at}]")
    elif here != there:
        yield f"{path}: {here!r} and not {there!r}"


def beside(server: AwsServer) -> dict[str, Any]:
    """Read what is on a server beside messaging: alarms, dashboards, and how long logs are kept."""
    with closing(client(server, "cloudwatch")) as watch, closing(client(server, "logs")) as logs:
        alarms = watch.describe_alarms(AlarmTypes=["MetricAlarm", "CompositeAlarm"])
        looks = {one["AlarmName"]: one["MetricName"] for one in alarms["MetricAlarms"]}
        rules = {one["AlarmName"]: one["AlarmRule"] for one in alarms["CompositeAlarms"]}
        shown = {one["DashboardName"] for one in watch.list_dashboards()["DashboardEntries"]}
        kept = {one["logGroupName"]: one["retentionInDays"] for one in logs.describe_log_groups()["logGroups"]}
    return {"alarms": looks, "rules": rules, "dashboards": shown, "logs": kept}


def watched_as_planned(server: AwsServer, topology: Topology, chosen: aws.AwsSettings) -> None:
    """Hold what is beside messaging to the plan."""
    planned = aws.plan(topology, chosen).resources
    of = {kind: [one.properties for one in planned if one.type.endswith(f":{kind}")] for kind in _BESIDE}
    there = beside(server)
    assert there["alarms"] == {one["name"]: one["metric_name"] for one in of["MetricAlarm"]}
    assert there["rules"] == {one["alarm_name"]: one["alarm_rule"] for one in of["CompositeAlarm"]}
    assert there["dashboards"] == {one["dashboard_name"] for one in of["Dashboard"]}
    assert sorted(there["logs"].values()) == sorted(one["retention_in_days"] for one in of["LogGroup"])
    names = {topic.rpartition(":")[2] for topic in state(server)["topics"]}
    assert {name.split("/")[3] for name in there["logs"]} <= names, "SNS writes to groups that have its topic's name"


_BESIDE = ("MetricAlarm", "CompositeAlarm", "Dashboard", "LogGroup")
NOTHING = {"alarms": {}, "rules": {}, "dashboards": set(), "logs": {}}


def life(folder: Path, topology: Topology, chosen: aws.AwsSettings) -> int:
    """Validate, make, look at, plan anew and destroy all of a stack. Return how much it was."""
    with running_in_thread(AwsServer(region=REGION)) as server:
        terraform = Terraform(folder, server)
        whole = written(topology, chosen)
        terraform.write(whole)
        terraform.init()
        assert terraform.validate() == []
        with roles_of(server, chosen):
            terraform.apply()
        same_as_made_by_polybus(server, topology, chosen)
        watched_as_planned(server, topology, chosen)
        again = terraform.plan()
        assert again.actions == {}, again.how
        count = len(terraform.addresses())
        terraform.destroy()
        assert state(server) == {"queues": {}, "topics": {}, "subscriptions": []}
        assert beside(server) == NOTHING
        return count


@contextmanager
def roles_of(server: AwsServer, chosen: aws.AwsSettings) -> Iterator[None]:
    """Make the roles that a stack is told of: they are other people's."""
    trust = {"Effect": "Allow", "Principal": {"Service": "ecs-tasks.amazonaws.com"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    with closing(client(server, "iam")) as iam:
        for name in {str(role).rpartition("/")[2] for role in chosen.roles.values()}:
            iam.create_role(RoleName=name, AssumeRolePolicyDocument=document)
        yield


def random_stacks(count: int) -> list[Stack]:
    """Make up stacks, always the same; what is adopted would have to be there, so nothing is, and buckets need S3."""
    found: list[Stack] = []

    @seed(SEED)
    @settings(max_examples=40 * count, deadline=None, database=None, phases=[Phase.generate])
    @given(stack=stacks("aws", fan=False))
    def draw(stack: Stack) -> None:
        topics = {name: replace(item, existing=None) for name, item in stack.topology.topics.items()}
        queues = {name: replace(item, existing=None) for name, item in stack.topology.queues.items()}
        topology = replace(stack.topology, topics=topics, queues=queues, large_bodies=None)
        chosen = replace(stack.settings, region=REGION)
        if LEAST <= len(aws.plan(topology, chosen).resources) <= MOST:
            found.append(Stack(topology, chosen))

    draw()
    return found[:: max(1, len(found) // count)][:count]  # those that follow each other are often alike


PUSHES = """
[bus]
name = "shop"
[topics.events]
[topics.ordered]
ordered = true
[queues.jobs]
[queues.steps]
ordered = true
[subscriptions.mail]
topic = "events"
filter = 'prefix(kind, "alarm.") or (region in ("eu", "uk") and not exists(test))'
push = { email = "ops@example.com" }
[subscriptions.text]
topic = "events"
push = { sms = "+447700900123" }
[subscriptions.hook]
topic = "events"
push = { https = "https://example.com/hook?a=${b}", raw = true }
[subscriptions.call]
topic = "events"
push = { function = "arn:aws:lambda:eu-west-1:111122223333:function:f:live" }
[subscriptions.on]
topic = "events"
push = { forward = "jobs" }
[subscriptions.next]
topic = "ordered"
push = { forward = "steps" }
"""


WATCHED = """
[bus]
name = "shop"
[alarms]
notify = { email = "ops@example.com" }
[topics.orders]
[subscriptions.billing]
topic = "orders"
[subscriptions.hook]
topic = "orders"
push = { https = "https://example.com/hook" }
[queues.jobs]
[services.till]
publishes = ["orders"]
consumes = ["jobs"]
[services.biller]
consumes = ["billing"]
"""
# One entry less, and so one alarm less in the rules of the bus and of the service that consumed it.
LESS = WATCHED.replace("[queues.jobs]\n", "").replace('consumes = ["jobs"]\n', "")


def watching(by: Literal["bus", "service"], logged: int) -> aws.AwsSettings:
    return aws.AwsSettings(stack=by, region=REGION, composite_alarms=by, delivery_logs=logged)


def examples() -> dict[str, tuple[Topology, aws.AwsSettings]]:
    """Give the repository's topologies, as they are deployed."""
    key = "arn:aws:kms:eu-west-1:111122223333:key/11111111-2222-3333-4444-555555555555"
    shop = load(ROOT / "stacks" / "polybus.toml")
    roles = {name: f"shop-{name}" for name in shop.services}
    watched = loads(WATCHED, source="polybus.toml")
    pipeline = load(ROOT / "examples" / "training_pipeline" / "polybus.toml")
    return {
        "stacks/polybus.toml, dev": (shop, aws.AwsSettings(stack="dev", region=REGION)),
        "stacks/polybus.toml, prod": (shop, aws.AwsSettings(stack="prod", region=REGION, kms_key=key, roles=roles)),
        "examples/training_pipeline": (pipeline, aws.AwsSettings(stack="dev", region=REGION)),
        "every push": (
            loads(PUSHES, source="polybus.toml"),
            aws.AwsSettings(stack="dev", vpc_endpoints=("vpce-1a2b",)),
        ),
        "one alarm for the bus, some deliveries logged": (watched, watching("bus", 10)),
        "one alarm for each service, failures logged": (watched, watching("service", 0)),
    }


if not ABSENT and WHOLE:

    def test_every_topology_is_made_is_the_same_as_polybus_s_and_gone_again(tmp_path: Path) -> None:
        cases = examples()
        for number, stack in enumerate(random_stacks(round(RANDOM * SCALE))):
            cases[f"random {number}"] = stack.topology, stack.settings
        with ThreadPoolExecutor(AT_ONCE) as pool:
            lives = {
                name: pool.submit(life, tmp_path / str(at), *case) for at, (name, case) in enumerate(cases.items())
            }
            wrong = {name: str(error) for name, run in lives.items() if (error := run.exception())}
        assert wrong == {}
        found = {name: run.result() for name, run in lives.items()}
        number, made = len(found), sum(found.values())
        print(f"terraform soak, seed {SEED}: {number} stacks, {made} resources made, planned anew and destroyed")

    async def test_the_whole_flow_passes_on_what_it_makes(terraform: Terraform, server: AwsServer) -> None:
        topology, chosen = examples()["stacks/polybus.toml, dev"]
        whole = written(topology, chosen)
        terraform.write({**whole, "output": {"polybus": whole["output"]["polybus"]}})
        await asyncio.to_thread(terraform.init)
        await asyncio.to_thread(terraform.apply)
        await flow.whole_flow(lambda service: connected(terraform, server, service))
        print("terraform soak: publish, filter, order, dead letter and redrive by the output of stacks/polybus.toml")

    async def test_what_changes_in_place_and_what_is_replaced(terraform: Terraform, server: AwsServer) -> None:
        base = SMALL + '[topics.news]\n[subscriptions.letters]\ntopic = "news"\n[queues.jobs]\n'
        export(terraform.folder, base)
        await asyncio.to_thread(terraform.init)
        await asyncio.to_thread(terraform.apply)
        other = base.replace('"eu"', '"us"')
        export(terraform.folder, other)
        changes = await asyncio.to_thread(terraform.plan)
        assert changes.actions == {"aws_sns_topic_subscription.billing-subscription": ["update"]}
        assert set(changes.how["aws_sns_topic_subscription.billing-subscription"]) == {"filter_policy"}
        await asyncio.to_thread(terraform.apply)
        async with connected(terraform, server, "till") as bus:
            await small_flow(bus, "us", "eu")
        changed = other.replace('"30s"', '"45s"\nmax_attempts = 7\nretention = "3d"')
        export(terraform.folder, changed)
        changes = await asyncio.to_thread(terraform.plan)
        assert changes.actions == {
            "aws_sqs_queue.billing-queue": ["update"],
            "aws_sqs_queue.billing-dead-letters": ["update"],
            "aws_sqs_queue_redrive_policy.billing-redrive": ["update"],
        }
        await asyncio.to_thread(terraform.apply)
        assert (await asyncio.to_thread(terraform.plan)).actions == {}
        added = changed.replace("[queues.jobs]", "[queues.jobs]\nordered = true\n[queues.more]")
        export(terraform.folder, added)
        changes = await asyncio.to_thread(terraform.plan)
        assert changes.of("delete", "create") >= {"aws_sqs_queue.jobs-queue", "aws_sqs_queue.jobs-dead-letters"}
        assert changes.of("create") >= {"aws_sqs_queue.more-queue"}
        assert not any("billing" in address or "letters-queue" in address for address in changes.actions)
        await asyncio.to_thread(terraform.apply)
        assert (await asyncio.to_thread(terraform.plan)).actions == {}
        export(terraform.folder, SMALL)
        changes = await asyncio.to_thread(terraform.plan)
        assert not any("billing" in address for address in changes.of("delete"))
        await asyncio.to_thread(terraform.destroy)
        assert state(server) == {"queues": {}, "topics": {}, "subscriptions": []}
        print("terraform soak: changed in place, replaced, added, removed and destroyed as planned")

    def test_an_alarm_leaves_the_rules_before_it_goes(tmp_path: Path, server: AwsServer) -> None:
        def play(by: Literal["bus", "service"]) -> None:
            chosen, terraform = watching(by, 0), Terraform(tmp_path / by, server)
            for text in (WATCHED, LESS):
                terraform.write(written(loads(text, source="polybus.toml"), chosen))
                terraform.init()
                terraform.apply()
                assert terraform.plan().actions == {}
            assert not [address for address in terraform.addresses() if ".jobs-" in address]
            terraform.destroy()

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(play, ("bus", "service")))
        assert beside(server) == NOTHING
        print("terraform soak: alarms left the rules of composite ones before they went, by the bus and by service")

    def test_the_bucket_of_large_bodies_is_made_on_moto_and_gone_again(tmp_path: Path, server: AwsServer) -> None:
        from moto_process import moto

        text = 'large_bodies = { over = "200KiB" }\n[bus]\nname = "shop"\n[topics.scans]\n'
        document = written(loads(text, source="polybus.toml"), aws.AwsSettings(stack="dev", region=REGION))
        document["provider"]["aws"]["s3_use_path_style"] = True  # no name of a host is a bucket's here
        with moto() as s3:
            terraform = Terraform(tmp_path / "bucket", server, s3=s3)
            terraform.write(document)
            terraform.init()
            assert terraform.validate() == []
            terraform.apply()
            assert terraform.plan().actions == {}
            made = {address.partition(".")[0] for address in terraform.addresses()}
            assert {"aws_s3_bucket", "aws_s3_bucket_policy", "aws_s3_bucket_lifecycle_configuration"} <= made
            terraform.destroy()
        print("terraform soak: the bucket of large bodies, on moto 5")

    async def test_what_is_adopted_carries_messages_and_stays(terraform: Terraform, server: AwsServer) -> None:
        with clients(server) as (sqs, sns):
            topic = sns.create_topic(Name="their-events")["TopicArn"]
            url = sqs.create_queue(QueueName="their-jobs", Attributes={"VisibilityTimeout": "77"})["QueueUrl"]
            queue = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        before = state(server)
        text = f"""
[bus]
name = "shop"
[topics.orders]
existing = "{topic}"
[queues.jobs]
existing = "{queue}"
[subscriptions.billing]
topic = "orders"
filter = 'region == "eu"'
[services.till]
publishes = ["orders", "jobs"]
consumes = ["billing", "jobs"]
"""
        export(terraform.folder, text)
        await asyncio.to_thread(terraform.init)
        await asyncio.to_thread(terraform.apply)
        assert (await asyncio.to_thread(terraform.plan)).actions == {}
        async with connected(terraform, server, "till") as bus:
            await bus.publish("orders", "elsewhere", attributes={"region": "us"})
            event = await bus.publish("orders", "here", attributes={"region": "eu"})
            assert [one.id for one in await flow.take(bus, "billing", 1)] == [event]
            job = await bus.publish("jobs", "work")
            assert [one.id for one in await flow.take(bus, "jobs", 1)] == [job]
        await asyncio.to_thread(terraform.destroy)
        assert state(server) == before
        print("terraform soak: what is adopted carried messages and was left as it was")

    def test_two_stacks_side_by_side_have_nothing_in_common(tmp_path: Path, server: AwsServer) -> None:
        both = []
        for stack in ("dev", "prod"):
            (tmp_path / stack).mkdir()
            one = Terraform(tmp_path / stack / "terraform", server)
            export(one.folder, SMALL, stack)
            one.init()
            both.append(one)
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(Terraform.apply, both))
        dev, prod = both
        assert [prod.plan().actions, dev.plan().actions] == [{}, {}]
        dev.destroy()
        assert prod.plan().actions == {}
        prod.destroy()
        assert state(server) == {"queues": {}, "topics": {}, "subscriptions": []}
        print("terraform soak: of two stacks side by side, one was destroyed and the other stayed as planned")
