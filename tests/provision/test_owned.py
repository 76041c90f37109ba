"""What is another stack's on AWS is refused before anything is made that keeps messages."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pulumi
import pytest

from polybus.clouds.aws.local import Realiser
from polybus.clouds.aws.plan.resources import AwsSettings
from polybus.localcloud.aws.server import AwsServer
from polybus.localcloud.server import running_in_thread
from polybus.provision import MessageBus
from polybus.topology.file import loads

from . import runner, simulated

REGION = "eu-west-1"
SHOP = '[bus]\nname = "shop"\n[topics.news]\n[subscriptions.mail]\ntopic = "news"\n[queues.jobs]\n'
NAMED = SHOP + '[queues.jobs.aws]\nname = "the-jobs"\n'
QUEUE = "aws:sqs/queue:Queue"


@pytest.fixture
def aws() -> Iterator[Realiser]:
    with running_in_thread(AwsServer(region=REGION)) as server:
        realiser = Realiser(endpoint=server.url, region=REGION)
        yield realiser
        realiser.close()


def deploy(aws: Realiser, stack: str, text: str = NAMED, **more: Any) -> runner.Run:
    """Run a program as one stack, on a server that others may have used."""
    settings = AwsSettings(stack=stack, region=REGION, **more.pop("settings", {}))

    def program() -> None:
        MessageBus("shop", topology=loads(text, source="polybus.toml"), cloud="aws", settings=settings)

    return runner.run(program, aws.create, look=lambda token, given: aws.create(token, "", given), **more)


def test_a_queue_of_another_stack_is_refused_and_nothing_that_keeps_messages_is_made(aws: Realiser) -> None:
    deploy(aws, "dev")
    done = runner.Run()
    with pytest.raises(pulumi.RunError) as raised:
        deploy(aws, "prod", done=done)
    assert str(raised.value).startswith(
        "polybus.toml: at $.queues.jobs: aws: found the queue the-jobs of the bus shop in the stack dev; this is the "
        "bus shop in the stack prod"
    )
    assert done.of(QUEUE) == []
    assert aws.create("aws:sqs/getQueue:getQueue", "", {"name": "the-jobs"})["tags"]["polybus-stack"] == "dev"


def test_it_is_refused_in_a_preview_too(aws: Realiser) -> None:
    deploy(aws, "dev")
    with pytest.raises(pulumi.RunError, match="of the bus shop in the stack dev"):
        deploy(aws, "prod", preview=True)


def test_a_stack_finds_its_own_queues_and_those_that_are_nobody_s(aws: Realiser) -> None:
    first = deploy(aws, "dev")
    again = deploy(aws, "dev")
    assert {item.name for item in again.resources} == {item.name for item in first.resources}
    aws.create(QUEUE, "by-hand", {"name": "by-hand", "tags": {"team": "ours"}})
    deploy(aws, "dev", NAMED.replace("the-jobs", "by-hand"))


def test_a_queue_of_another_bus_is_refused(aws: Realiser) -> None:
    deploy(aws, "dev")
    other = SHOP.replace('"shop"', '"depot"') + '[queues.jobs.aws]\nname = "the-jobs"\n'
    with pytest.raises(pulumi.RunError, match="the bus shop in the stack dev; this is the bus depot in"):
        deploy(aws, "dev", other)


@pytest.mark.parametrize(
    ("text", "settings", "words"),
    [
        (
            SHOP + '[services.mailer]\nconsumes = ["mail"]\n',
            {"roles": {"mailer": "arn:aws:iam::999999999999:role/mailer"}},
            "aws roles.mailer: found one of the account 999999999999; the stack is made in 000000000000",
        ),
        (
            SHOP.replace("[queues.jobs]", f'[queues.jobs]\nexisting = "arn:aws:sqs:{REGION}:999999999999:jobs"'),
            {},
            "polybus.toml: at $.queues.jobs.existing: aws: found one of the account 999999999999; the stack is made in",
        ),
    ],
)
def test_what_is_of_another_account_is_refused(
    aws: Realiser, text: str, settings: Mapping[str, Any], words: str
) -> None:
    with pytest.raises(pulumi.RunError) as raised:
        deploy(aws, "dev", text, settings=settings)
    assert str(raised.value).startswith(words)


def test_what_is_held_is_still_all_that_it_was(aws: Realiser) -> None:
    """Waiting for an answer hides neither a dependency nor, in a preview, a name."""
    done = runner.run_stack("aws-dev", simulated.create, look=simulated.look, preview=True)
    queues = done.of(QUEUE)
    assert queues
    assert all(isinstance(item.inputs["name"], str) for item in queues)
    assert json.dumps([item.options for item in queues])


def test_a_program_s_own_tests_need_no_answers() -> None:
    """As under Pulumi's mocks, whose `call` is `return {}` in its documents."""
    text = f'{SHOP}[services.a]\npublishes = ["news"]\n[services.b]\nconsumes = ["jobs"]\n'

    def program() -> None:
        roles = {
            "a": "arn:aws:iam::123456789012:role/a",
            "b": pulumi.Output.from_input("arn:aws:iam::123456789012:role/b"),
        }
        settings = AwsSettings(stack="dev", region=REGION, roles=roles, functions={})
        MessageBus("shop", topology=loads(text, source="polybus.toml"), cloud="aws", settings=settings)

    def create(type_: str, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
        return {"id": name, "arn": f"arn:aws:x:{REGION}:123456789012:{name}", "url": f"https://sqs/{name}"}

    done = runner.run(program, create, look=lambda token, given: {})
    assert len(done.of(QUEUE)) == 4
