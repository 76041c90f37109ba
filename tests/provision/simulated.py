"""Providers that make nothing: outputs as each cloud's own look, computed from names alone, so always the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ACCOUNT = "111122223333"
SUBSCRIPTION = "/subscriptions/11111111-2222-3333-4444-555555555555"


def create(type_: str, name: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Answer for any of the three providers, and for what Pulumi itself has."""
    return {"aws": _aws, "azure-native": _azure, "gcp": _gcp, "pulumi": _plain}[type_.split(":", maxsplit=1)[0]](
        type_, name, inputs
    )


def look(token: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Answer for the functions that plans read, in an account that has nothing: AWS's region, a project's number."""
    if token == "aws:sqs/getQueues:getQueues":
        return {"id": "eu-west-1", "queueUrls": []}
    if token == "aws:index/getCallerIdentity:getCallerIdentity":
        return {"id": ACCOUNT, "accountId": ACCOUNT}
    if token == "aws:index/getRegion:getRegion":
        return {"id": "eu-west-1", "region": "eu-west-1"}
    if token == "gcp:storage/getProjectServiceAccount:getProjectServiceAccount":
        return {"id": "the-project", "emailAddress": "service-1@gs-project-accounts.iam.gserviceaccount.com"}
    assert token == "gcp:organizations/getProject:getProject"
    return {"id": "projects/p", "number": ACCOUNT, "projectId": arguments.get("projectId", "p")}


def _aws(type_: str, name: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
    service = type_.split(":")[1].split("/", maxsplit=1)[0]
    physical = inputs.get("name", name)
    arn = f"arn:aws:{service}:eu-west-1:{ACCOUNT}:{physical}"
    if type_ == "aws:sns/topic:Topic":
        return {"id": arn, "arn": arn, "name": physical, "owner": ACCOUNT}
    if type_ == "aws:sqs/queue:Queue":
        url = f"https://sqs.eu-west-1.amazonaws.com/{ACCOUNT}/{physical}"
        return {"id": url, "url": url, "arn": arn, "name": physical, "region": "eu-west-1"}
    return {"id": arn, "arn": arn, "name": physical}


_AZURE_NAMES = (
    ("Subscription", "subscriptionName", "topics/{topicName}/subscriptions"),
    ("Topic", "topicName", "topics"),
    ("Queue", "queueName", "queues"),
)


def _azure(type_: str, name: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
    kind = type_.split(":")[2]
    group = f"{SUBSCRIPTION}/resourceGroups/{inputs.get('resourceGroupName', '')}"
    if kind == "ResourceGroup":
        return {"id": group, "name": inputs["resourceGroupName"]}
    provider = f"{group}/providers/Microsoft.ServiceBus/namespaces/{inputs.get('namespaceName', '')}"
    if kind == "Namespace":
        return {"id": provider, "name": inputs["namespaceName"]}
    for known, key, folder in _AZURE_NAMES:
        if kind == known:
            return {"id": f"{provider}/{folder.format_map(inputs)}/{inputs[key]}", "name": inputs[key]}
    return {"id": f"{group}/{kind}/{name}", "name": name}


def _plain(type_: str, name: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": name}


def _gcp(type_: str, name: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
    folder = {"Topic": "topics", "Subscription": "subscriptions"}.get(type_.rpartition(":")[2], "others")
    physical = inputs.get("name", name)
    return {"id": f"projects/{inputs.get('project', 'p')}/{folder}/{physical}", "name": physical}
