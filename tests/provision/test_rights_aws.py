"""What each service's IAM policy allows and refuses, called with boto3 against a server that enforces it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from botocore.exceptions import ClientError

from polybus.bus.bus import Bus
from polybus.bus.delivery import Delivery
from polybus.errors import BackendError, FaultKind, NotDeclared, PublishFailed

from .deployed_aws import Deployed, deploy

REFUSED = {"AccessDenied", "AuthorizationError"}


@pytest.fixture(scope="module")
def deployed() -> Iterator[Deployed]:
    with deploy() as made:
        for service, policy in made.policies.items():
            made.server.identities.put(service, policy)
        yield made


# -- Every call by every service ---------------------------------------------------------------------------------------

# By the declaration in stacks/polybus.toml, and not by the policy that is under test: the entry, what of it, the calls.
SEND, RECEIVE, DELETE, EXTEND = "SendMessage", "ReceiveMessage", "DeleteMessage", "ChangeMessageVisibility"
STATS, PURGE, PUBLISH = "GetQueueAttributes", "PurgeQueue", "Publish"
CONSUME = {RECEIVE, DELETE, EXTEND, STATS}
OPERATE = CONSUME | {PURGE}

ALLOWED: Mapping[str, Mapping[str, set[str]]] = {
    "checkout": {"topic orders": {PUBLISH}, "thumbnails": {SEND}},
    "billing": {"topic news": {PUBLISH}, "billing": CONSUME, "billing letters": {SEND}},
    "mailer": {"letters": CONSUME, "letters letters": {SEND}},
    "images": {"thumbnails": CONSUME, "thumbnails letters": {SEND}},
    "operator": {
        "audit": OPERATE | {SEND},  # who consumes and operates may purge what waits
        "audit letters": OPERATE | {SEND},
        **{name: {STATS, SEND} for name in ("billing", "letters", "thumbnails")},
        **{f"{name} letters": OPERATE for name in ("billing", "letters", "thumbnails")},
    },
}
NEVER_QUEUE = ("DeleteQueue", "SetQueueAttributes", "AddPermission")
NEVER_TOPIC = ("DeleteTopic", "SetTopicAttributes", "Subscribe")
QUEUE_CALLS = (SEND, RECEIVE, DELETE, EXTEND, STATS, PURGE, *NEVER_QUEUE)
TOPIC_CALLS = (PUBLISH, *NEVER_TOPIC)


@dataclass(frozen=True)
class Probe:
    """One call that a service tries; it is made so that it changes nothing, whether it is allowed or not."""

    call: str
    target: str

    def arguments(self, address: str) -> dict[str, Any]:
        if self.call in TOPIC_CALLS:
            return {"TopicArn": address, **_TOPIC_ARGUMENTS[self.call]}
        return {"QueueUrl": address, **_QUEUE_ARGUMENTS[self.call]}


_GROUP = {"MessageGroupId": "probe", "MessageDeduplicationId": "probe"}
_QUEUE_ARGUMENTS: Mapping[str, dict[str, Any]] = {
    SEND: {"MessageBody": "probe"},
    RECEIVE: {"MaxNumberOfMessages": 1, "VisibilityTimeout": 0, "WaitTimeSeconds": 0},
    DELETE: {"ReceiptHandle": "none"},
    EXTEND: {"ReceiptHandle": "none", "VisibilityTimeout": 0},
    STATS: {"AttributeNames": ["QueueArn"]},
    PURGE: {},
    "DeleteQueue": {},
    "SetQueueAttributes": {"Attributes": {"VisibilityTimeout": "1"}},
    "AddPermission": {"Label": "x", "AWSAccountIds": ["111122223333"], "Actions": ["*"]},
}
_TOPIC_ARGUMENTS: Mapping[str, dict[str, Any]] = {
    PUBLISH: {"Message": "probe"},
    "DeleteTopic": {},
    "SetTopicAttributes": {"AttributeName": "DisplayName", "AttributeValue": "x"},
    "Subscribe": {"Protocol": "email", "Endpoint": "x@example.com"},
}


def targets(deployed: Deployed) -> dict[str, str]:
    """Name every topic, queue and dead-letter queue of the stack, with its address."""
    outputs = deployed.run.outputs
    found = {f"topic {name}": topic["arn"] for name, topic in outputs["topics"].items()}
    for name, queue in {**outputs["subscriptions"], **outputs["queues"]}.items():
        found |= {name: queue["url"], f"{name} letters": queue["deadLetterUrl"]}
    return found


def refused(client: Any, probe: Probe, address: str) -> bool:
    """Make one call; tell whether it was refused for want of a right. Other refusals come after that one."""
    arguments = probe.arguments(address)
    if address.endswith(".fifo") and probe.call in (SEND, PUBLISH):
        arguments |= _GROUP
    method = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in probe.call).lstrip("_")
    try:
        getattr(client, method)(**arguments)
    except ClientError as error:
        return error.response["Error"]["Code"] in REFUSED
    return False


def table(deployed: Deployed, service: str) -> dict[Probe, bool]:
    """Try everything as one service; True where it was refused."""
    sns, sqs = deployed.client("sns", service), deployed.client("sqs", service)
    results: dict[Probe, bool] = {}
    for name, address in targets(deployed).items():
        client, calls = (sns, TOPIC_CALLS) if name.startswith("topic ") else (sqs, QUEUE_CALLS)
        for call in calls:
            results[Probe(call, name)] = refused(client, Probe(call, name), address)
    sns.close()
    sqs.close()
    return results


@pytest.mark.parametrize("service", ALLOWED)
def test_a_service_can_do_what_it_declared_and_nothing_else(deployed: Deployed, service: str) -> None:
    results = table(deployed, service)
    print(f"\n{service}: {sum(not no for no in results.values())} calls allowed, {sum(results.values())} refused")
    for name in targets(deployed):
        row = {probe.call: no for probe, no in results.items() if probe.target == name}
        can, can_not = ([call for call, no in row.items() if no is wanted] for wanted in (False, True))
        print(f"  {name:<20} allowed: {', '.join(can) or '-':<90} refused: {', '.join(can_not)}")
        assert set(can) == ALLOWED[service].get(name, set()), (service, name)


def test_nobody_creates_anything(deployed: Deployed) -> None:
    for service in ALLOWED:
        for client, method, argument in (("sqs", "create_queue", "QueueName"), ("sns", "create_topic", "Name")):
            with pytest.raises(ClientError) as error:
                getattr(deployed.client(client, service), method)(**{argument: "mine"})
            assert error.value.response["Error"]["Code"] in REFUSED


# -- Every right is needed ---------------------------------------------------------------------------------------------

Step = Callable[[Bus], Awaitable[None]]


@asynccontextmanager
async def one(bus: Bus, source: str) -> AsyncIterator[Delivery]:
    async with bus.consume(source, concurrency=1, prefetch=1) as deliveries:
        yield await anext(deliveries)


async def publish(bus: Bus) -> None:
    await bus.publish("orders", "x", attributes={"region": "eu"}, ordering_key="k")


async def send(bus: Bus) -> None:
    await bus.publish("thumbnails", "x")


async def ack(bus: Bus) -> None:
    async with one(bus, "thumbnails") as delivery:
        await delivery.ack()


async def nack(bus: Bus) -> None:
    async with one(bus, "thumbnails") as delivery:
        await delivery.nack(delay=1)


async def dead_letter(bus: Bus) -> None:
    async with one(bus, "thumbnails") as delivery:
        await delivery.dead_letter("No")


async def stats(bus: Bus) -> None:
    await bus.stats("thumbnails")


async def look(bus: Bus) -> None:
    assert [peeked async for peeked in bus.dead_letters("thumbnails").peek(1)]


async def redrive(bus: Bus) -> None:
    assert await bus.dead_letters("thumbnails").redrive(limit=1)


async def purge(bus: Bus) -> None:
    await bus.dead_letters("thumbnails").purge()


async def empty(bus: Bus) -> None:
    await bus.purge("audit")


# The statement and action that is taken away, and what the service then can't do.
NEEDS: list[tuple[str, str, str, Step]] = [
    ("checkout", "Publish", "sns:Publish", publish),
    ("checkout", "Send", "sqs:SendMessage", send),
    ("images", "Consume", "sqs:ReceiveMessage", ack),
    ("images", "Consume", "sqs:DeleteMessage", ack),
    ("images", "Consume", "sqs:ChangeMessageVisibility", nack),
    ("images", "DeadLetter", "sqs:SendMessage", dead_letter),
    ("operator", "Watch", "sqs:GetQueueAttributes", stats),
    ("operator", "ReturnDeadLetters", "sqs:SendMessage", redrive),
    ("operator", "Purge", "sqs:PurgeQueue", empty),
    ("operator", "OperateDeadLetters", "sqs:GetQueueAttributes", stats),
    ("operator", "OperateDeadLetters", "sqs:ReceiveMessage", look),
    ("operator", "OperateDeadLetters", "sqs:ChangeMessageVisibility", look),
    ("operator", "OperateDeadLetters", "sqs:DeleteMessage", redrive),
    ("operator", "OperateDeadLetters", "sqs:PurgeQueue", purge),
]


def taken_away(policy: Mapping[str, Any], sid: str, action: str) -> dict[str, Any]:
    """Return a policy without one action of one statement, and without the statement if it has no other."""
    statements: list[Mapping[str, Any]] = []
    for statement in policy["Statement"]:
        if statement["Sid"] != sid:
            statements.append(statement)
        elif left := [one for one in statement["Action"] if one != action]:
            statements.append({**statement, "Action": left})
    assert json.dumps(statements) != json.dumps(policy["Statement"]), f"{sid} has no {action}"
    return {**policy, "Statement": statements}


async def stock(deployed: Deployed) -> None:
    """Put a message where each step needs one: in a queue, and among its dead letters."""
    async with deployed.bus("checkout") as checkout, deployed.bus("images") as images:
        await checkout.publish("thumbnails", "letter")
        await dead_letter(images)
        await checkout.publish("thumbnails", "waiting")  # now, so that nobody has attempted it


@pytest.mark.parametrize(
    ("service", "sid", "action", "step"), NEEDS, ids=lambda value: getattr(value, "__name__", value)
)
async def test_without_one_right_what_needs_it_is_denied(service: str, sid: str, action: str, step: Step) -> None:
    with deploy() as fresh:
        await stock(fresh)
        key, policy = f"{service}-key", fresh.policies[service]
        fresh.server.identities.put(key, taken_away(policy, sid, action))
        with pytest.raises((BackendError, PublishFailed)) as denied:
            async with fresh.bus(service, access_key=key) as bus:
                await step(bus)
        error = denied.value
        [fault] = [error.fault] if isinstance(error, BackendError) else error.faults
        assert fault.kind is FaultKind.DENIED
        assert action.lower() in fault.detail.lower()  # SQS writes it in lower case
        await stock(fresh)  # what the refused step received is leased
        fresh.server.identities.put(key, policy)
        async with fresh.bus(service, access_key=key) as bus:
            await step(bus)


async def test_who_operates_and_does_not_consume_purges_dead_letters_alone() -> None:
    """Refused before any call, on every cloud alike: on Azure no role could tell the two apart."""
    with deploy() as fresh:
        fresh.server.identities.put("operator", fresh.policies["operator"])
        async with fresh.bus("operator", access_key="operator") as bus:
            with pytest.raises(NotDeclared, match=r"'thumbnails': at \$.services.operator.consumes") as refused:
                await bus.purge("thumbnails")
            assert "add it there and deploy" in str(refused.value)
            await bus.purge("audit")
            await purge(bus)


def test_every_right_is_taken_away_once(deployed: Deployed) -> None:
    """Of one publisher, one consumer and one operator: the others have the same statements."""
    granted = {
        (service, statement["Sid"], action)
        for service in ("checkout", "images", "operator")
        for statement in deployed.policies[service]["Statement"]
        for action in statement["Action"]
        if service != "operator" or statement["Sid"] not in ("Consume", "DeadLetter")  # it consumes too
        # No call of ours: what scales consumers or drives them counts by their role (KEDA, event source mappings).
        if (statement["Sid"], action) != ("Consume", "sqs:GetQueueAttributes")
    }
    assert {(service, sid, action) for service, sid, action, _ in NEEDS} == granted
