"""Pub/Sub on its local server, for Pulumi's engine: made by `local`, and read and taken away by google-cloud-pubsub."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from polybus.binding import Binding
from polybus.clouds.gcp.local import OTHER_AGENTS, Realiser, change_policy
from polybus.provision.laptop.cloud import Inputs, Laptop, attempt

__all__ = ["LAPTOP"]

_ENDPOINT = "PUBSUB_EMULATOR_HOST"


class _Stand:
    POLICIES: Mapping[str, str] = {
        "gcp:pubsub/topicIAMMember:TopicIAMMember": "topic",
        "gcp:pubsub/subscriptionIAMMember:SubscriptionIAMMember": "subscription",
    }

    def __init__(self, config: Inputs) -> None:
        import grpc
        from google.api_core.exceptions import NotFound
        from google.pubsub_v1 import PublisherClient, SubscriberClient
        from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
        from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

        endpoint = os.environ[_ENDPOINT]
        self._project = str(config.get("project") or os.environ["PUBSUB_PROJECT_ID"])
        self.make = Realiser(endpoint=endpoint, project=self._project).create
        channel = grpc.insecure_channel(endpoint, options=[("grpc.enable_http_proxy", 0)])
        self._publisher = PublisherClient(transport=PublisherGrpcTransport(channel=channel))
        self._subscriber = SubscriberClient(transport=SubscriberGrpcTransport(channel=channel))
        self._gone = (NotFound,)

    def record(self, type_: str, name: str, inputs: Inputs) -> dict[str, Any]:
        return {"id": name, "name": str(inputs.get("name", name))}

    def read(self, type_: str, identity: str, made: Inputs) -> dict[str, Any] | None:
        if not _served(type_, made):
            return {}
        readers: dict[str, Callable[[], dict[str, Any] | None]] = {
            "gcp:pubsub/topic:Topic": lambda: self._fields(self._publisher.get_topic(topic=identity)),
            "gcp:pubsub/subscription:Subscription": lambda: self._fields(
                self._subscriber.get_subscription(subscription=identity)
            ),
            **dict.fromkeys(self.POLICIES, lambda: self._member(type_, made)),
        }
        try:
            return readers[type_]()
        except self._gone:
            return None

    def _fields(self, message: Any) -> dict[str, Any]:
        """Give a message as the provider has it: its own names, and those of resources as users write them."""
        from google.protobuf.json_format import MessageToDict

        found: dict[str, Any] = MessageToDict(type(message).pb(message), always_print_fields_with_no_presence=True)
        found["name"] = found["name"].rpartition("/")[2]
        return found

    def _member(self, type_: str, made: Inputs) -> dict[str, Any] | None:
        client, resource = self._policy_of(type_, made)
        policy = client.get_iam_policy(request={"resource": resource})
        there = any(one.role == made["role"] and made["member"] in one.members for one in policy.bindings)
        return {} if there else None

    def remove(self, type_: str, made: Inputs) -> None:
        if not _served(type_, made):
            return
        removers: dict[str, Callable[[], object]] = {
            "gcp:pubsub/topic:Topic": lambda: self._publisher.delete_topic(topic=self._path("topics", made["name"])),
            "gcp:pubsub/subscription:Subscription": lambda: self._subscriber.delete_subscription(
                subscription=self._path("subscriptions", made["name"])
            ),
            **dict.fromkeys(self.POLICIES, lambda: self._unmember(type_, made)),
        }
        attempt(removers[type_], self._gone)

    def _unmember(self, type_: str, made: Inputs) -> None:
        def removed(policy: Any) -> bool:
            holding = [one for one in policy.bindings if one.role == made["role"] and made["member"] in one.members]
            for one in holding:
                one.members.remove(made["member"])
            return bool(holding)

        change_policy(*self._policy_of(type_, made), removed)

    def _policy_of(self, type_: str, made: Inputs) -> tuple[Any, str]:
        kind = self.POLICIES[type_]
        return self._publisher if kind == "topic" else self._subscriber, self._path(f"{kind}s", made[kind])

    def _path(self, kind: str, name: str) -> str:
        return name if "/" in name else f"projects/{self._project}/{kind}/{name}"


def _served(type_: str, inputs: Inputs) -> bool:
    elsewhere = any(agent in str(inputs.get("member", "")) for agent in OTHER_AGENTS)
    return (
        type_ in ("gcp:pubsub/topic:Topic", "gcp:pubsub/subscription:Subscription", *_Stand.POLICIES) and not elsewhere
    )


def _binding(binding: Binding, environment: Mapping[str, str]) -> Binding:
    """Lead a binding to the server; what there is comes at once from it, so that a look needn't wait long."""
    return msgspec.structs.replace(
        binding, settings={**binding.settings, "endpoint": environment[_ENDPOINT], "look": 2.0}
    )


def _variables(configuration: Mapping[str, str]) -> dict[str, str]:
    project = configuration.get("gcp:project")
    return {"PUBSUB_PROJECT_ID": project, "GOOGLE_CLOUD_PROJECT": project} if project else {}


LAPTOP = Laptop(package="gcp", served=_served, connect=_Stand, binding=_binding, variables=_variables)
