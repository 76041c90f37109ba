"""`polybus:vpcEndpoints`: messages pass through the endpoints alone, SNS delivers, and who deploys isn't locked out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pulumi
import pytest
from botocore.exceptions import ClientError

from polybus.clouds.aws.local import Realiser
from polybus.localcloud.aws.policy.document import Policy, Request
from polybus.localcloud.aws.server import AwsServer
from polybus.localcloud.server import running_in_thread

from . import runner, simulated
from .deployed_aws import REGION, Deployed

ENDPOINTS = ("vpce-0aaa", "vpce-0bbb")
SHOP = """
[bus]
name = "shop"
[topics.news]
[topics.theirs]
existing = "{theirs}"
[subscriptions.mail]
topic = "news"
[subscriptions.watch]
topic = "theirs"
[queues.jobs]
"""


def deploy(folder: Path, create: runner.Create, endpoints: Any, theirs: str) -> runner.Run:
    (folder / "polybus.toml").write_text(SHOP.format(theirs=theirs))
    values = {"polybus:cloud": "aws", "aws:region": REGION, "polybus:vpcEndpoints": json.dumps(endpoints)}
    return runner.run(runner.main, create, look=simulated.look, values=values, root=folder)


@pytest.fixture
def deployed(tmp_path: Path) -> Iterator[Deployed]:
    with running_in_thread(AwsServer(region=REGION)) as server:
        realiser = Realiser(endpoint=server.url, region=REGION)
        before = Deployed(server, runner.Run())
        sns = before.client("sns")
        theirs = sns.create_topic(Name="theirs")["TopicArn"]
        sns.close()
        run = deploy(tmp_path, realiser.create, ENDPOINTS, theirs)
        realiser.close()
        yield Deployed(server, run)


def policies(run: runner.Run) -> Iterator[tuple[str, dict[str, Any]]]:
    for kind in ("aws:sqs/queuePolicy:QueuePolicy", "aws:sns/topicPolicy:TopicPolicy"):
        for resource in run.of(kind):
            yield resource.name, json.loads(resource.inputs["policy"])


def verdict(document: Mapping[str, Any], action: str, **context: str) -> bool | None:
    resource = document["Statement"][-1]["Resource"]
    context = {f"aws:{key}": value for key, value in context.items()}
    request = Request("arn:aws:iam::000000000000:role/x", action, resource, {"aws:securetransport": "true", **context})
    return Policy.parse(document, principals=True).verdict(request)


def test_what_comes_from_elsewhere_is_refused(deployed: Deployed) -> None:
    found = dict(policies(deployed.run))
    assert len(found) == 1 + 2 * 3, "the stack's own topic, and three queues with their dead letters"
    for name, document in found.items():
        action = "sns:Publish" if "topic" in name else "sqs:ReceiveMessage"
        person = {"principalisawsservice": "false"}
        assert verdict(document, action, **person) is False, name
        assert verdict(document, action, **person, sourcevpce="vpce-0ccc") is False, name
        assert verdict(document, action) is False, "nor what has no credentials"
        for endpoint in ENDPOINTS:
            assert verdict(document, action, **person, sourcevpce=endpoint) is None, "rights are IAM's to give"


def test_who_deploys_is_not_locked_out(deployed: Deployed) -> None:
    for name, document in policies(deployed.run):
        service = "sns" if "topic" in name else "sqs"
        managing = {"sns": ("SetTopicAttributes", "DeleteTopic"), "sqs": ("SetQueueAttributes", "DeleteQueue")}[service]
        for action in managing:
            assert verdict(document, f"{service}:{action}", principalisawsservice="false") is None


def test_without_endpoints_nothing_is_said_of_them(tmp_path: Path) -> None:
    run = deploy(tmp_path, simulated.create, [], "arn:aws:sns:eu-west-1:1:theirs")
    assert "SourceVpce" not in str(list(policies(run)))


async def test_sns_delivers_and_clients_outside_are_refused(deployed: Deployed) -> None:
    sns, sqs = deployed.client("sns"), deployed.client("sqs")
    mail, watch = (deployed.run.outputs["subscriptions"][name]["url"] for name in ("mail", "watch"))
    with pytest.raises(ClientError, match="AuthorizationError"):
        await asyncio.to_thread(sns.publish, TopicArn=deployed.run.outputs["topics"]["news"]["arn"], Message="x")
    with pytest.raises(ClientError, match="AccessDenied"):
        await asyncio.to_thread(sqs.receive_message, QueueUrl=mail)
    await asyncio.to_thread(sns.publish, TopicArn=deployed.run.outputs["topics"]["theirs"]["arn"], Message="x")
    waiting = "ApproximateNumberOfMessages"
    found = await asyncio.to_thread(sqs.get_queue_attributes, QueueUrl=watch, AttributeNames=[waiting])
    assert found["Attributes"][waiting] == "1"
    sns.close()
    sqs.close()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["vpc-1"], "aws vpcEndpoints: found 'vpc-1'; allowed: ids of VPC endpoints, such as vpce-1a2b3c4d"),
        ({"a": "b"}, "Pulumi.dev.yaml: polybus:vpcEndpoints: found {'a': 'b'}; allowed: a list of texts"),
    ],
)
def test_what_is_no_endpoint(tmp_path: Path, given: Any, words: str) -> None:
    with pytest.raises(pulumi.RunError) as raised:
        deploy(tmp_path, simulated.create, given, "arn:aws:sns:eu-west-1:1:theirs")
    assert str(raised.value) == words


SUBNET = "/subscriptions/s/resourceGroups/n/providers/Microsoft.Network/virtualNetworks/v/subnets/m"
ZONE = (
    "/subscriptions/s/resourceGroups/n/providers/Microsoft.Network/privateDnsZones/privatelink.servicebus.windows.net"
)
SMALL = '[bus]\nname = "shop"\n[queues.jobs]\n'


def azure(folder: Path, **values: str) -> runner.Run:
    (folder / "polybus.toml").write_text(SMALL)
    given = {
        "polybus:cloud": "azure",
        "azure-native:location": "westeurope",
        "polybus:sku": "Premium",
        **{f"polybus:{key}": text for key, text in values.items()},
    }
    return runner.run(runner.main, simulated.create, look=simulated.look, values=given, root=folder)


def test_an_azure_endpoint_is_found_by_name(tmp_path: Path) -> None:
    """Without the zone clients resolve the public address, which is closed."""
    run = azure(tmp_path, subnet=SUBNET, privateDnsZone=ZONE)
    assert run.named("shop-namespace").inputs["publicNetworkAccess"] == "Disabled"
    assert run.named("shop-private-endpoint").inputs["subnet"] == {"id": SUBNET}
    group = run.named("shop-private-endpoint-dns")
    assert group.inputs["privateDnsZoneConfigs"] == [{"name": "servicebus", "privateDnsZoneId": ZONE}]
    assert "shop-private-endpoint" in group.options["dependencies"]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"privateDnsZone": ZONE}, "azure privateDnsZone: it is of a private endpoint; set subnet too"),
        (
            {"privateDnsZone": "a.zone", "subnet": SUBNET},
            "azure privateDnsZone: found 'a.zone'; allowed: the resource id",
        ),
    ],
)
def test_a_zone_that_is_of_nothing(tmp_path: Path, values: dict[str, str], words: str) -> None:
    with pytest.raises(pulumi.RunError) as raised:
        azure(tmp_path, **values)
    assert str(raised.value).startswith(words)
