"""What each service's role assignments come to, tried with azure-servicebus against a server that enforces them.

The server knows no Entra ID, so each service has a key of its own, with the rights that its assignments give: Data
Sender is Send and Data Receiver is Listen, on the assignment's scope and what is below it. That Azure's roles are no
more than that is Microsoft's word; which role is assigned to whom and where is what is under test.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
from azure.core.exceptions import HttpResponseError
from azure.core.pipeline.transport import RequestsTransport
from azure.servicebus import ServiceBusClient, ServiceBusSubQueue
from azure.servicebus.exceptions import (
    ServiceBusAuthenticationError,
    ServiceBusAuthorizationError,
    ServiceBusError,
)
from azure.servicebus.management import ServiceBusAdministrationClient

from polybus.clouds.azure.local import Realiser
from polybus.clouds.azure.plan.rights import RECEIVER, SENDER
from polybus.localcloud.server import running_in_thread
from polybus.localcloud.servicebus import ServiceBusServer

from . import runner

ASSIGNMENT = "azure-native:authorization:RoleAssignment"
CLAIMS = {SENDER: "Send", RECEIVER: "Listen"}
STACK = "azure-prod"
# By the object id in the stack's configuration, which assignments name.
SERVICES = {
    who if isinstance(who, str) else who["id"]: name
    for name, who in json.loads(runner.configuration(STACK)["polybus:principals"]).items()
}

# By the declaration in stacks/polybus.toml, and not by the assignments that are under test. What is received from a
# source may be received from its dead letters, which are a part of it.
ALLOWED: Mapping[str, Mapping[str, set[str]]] = {
    "checkout": {"send": {"orders", "thumbnails"}, "receive": set()},
    "billing": {"send": {"news"}, "receive": {"billing"}},
    "mailer": {"send": set(), "receive": {"letters"}},
    "images": {"send": set(), "receive": {"thumbnails"}},
    # It sends what it redrives, which reaches a subscription through its topic.
    "operator": {
        "send": {"orders", "news", "thumbnails"},
        "receive": {"billing", "audit", "letters", "thumbnails"},
    },
}


@dataclass(frozen=True)
class Deployed:
    server: ServiceBusServer
    names: Mapping[str, tuple[str, ...]]
    """Topics and queues by their physical name, subscriptions by that of their topic and their own."""

    def client(self, service: str) -> ServiceBusClient:
        return ServiceBusClient.from_connection_string(self.server.connection_string(service, service), retry_total=0)

    def administration(self, service: str) -> ServiceBusAdministrationClient:
        transport = RequestsTransport(connection_verify=str(self.server.certificate))
        text = self.server.connection_string(service, service)
        return ServiceBusAdministrationClient.from_connection_string(text, transport=transport, retry_total=0)


@pytest.fixture(scope="module")
def deployed() -> Iterator[Deployed]:
    with running_in_thread(ServiceBusServer()) as server:
        realiser = Realiser(connection_string=server.connection_string(), ca_file=server.certificate)
        try:
            run = runner.run_stack(STACK, realiser.create)
        finally:
            realiser.close()
        grants: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
        for assigned in run.of(ASSIGNMENT):
            service = SERVICES[assigned.inputs["principalId"]]
            role = assigned.inputs["roleDefinitionId"].rpartition("/")[2]
            grants[service][entity_of(assigned.inputs["scope"])].add(CLAIMS[role])
        for service, entities in grants.items():
            for entity, claims in entities.items():
                server.rights.put(service, service, entity, claims)
        yield Deployed(server, physical(run))


def entity_of(scope: str) -> str:
    """Give the path of an entity on the wire; a scope that is none, such as the namespace, fails here."""
    kind, _, path = scope.partition("/namespaces/local/")[2].partition("/")
    assert kind in ("topics", "queues"), scope
    return path


def physical(run: runner.Run) -> dict[str, tuple[str, ...]]:
    topics = {name: (found["name"],) for name, found in run.outputs["topics"].items()}
    queues = {name: (found["name"],) for name, found in run.outputs["queues"].items()}
    subscriptions = {
        name: tuple(entity_of(found["id"]).split("/subscriptions/"))
        for name, found in run.outputs["subscriptions"].items()
    }
    return topics | queues | subscriptions


def refused(client: ServiceBusClient, call: str, name: tuple[str, ...], ordered: bool) -> bool:
    """Open one link; tell whether it was refused for want of a right. Other refusals come after that one."""
    letters = ServiceBusSubQueue.DEAD_LETTER if call == "receive letters" else None
    session = {"session_id": "probe"} if ordered and letters is None else {}
    try:
        if call == "send":
            sender = client.get_topic_sender if name[0].rpartition("-")[2] in ("orders", "news") else None
            with (sender or client.get_queue_sender)(name[0]):
                return False
        receiver = client.get_subscription_receiver if len(name) > 1 else client.get_queue_receiver
        with receiver(*name, sub_queue=letters, **session):
            return False
    except (ServiceBusAuthorizationError, ServiceBusAuthenticationError):
        return True
    except ServiceBusError:
        return False


SOURCES = {"billing": True, "audit": True, "letters": False, "thumbnails": False}  # and whether they have sessions
TARGETS = ("orders", "news", "thumbnails")


@pytest.mark.parametrize("service", ALLOWED)
def test_a_service_can_do_what_it_declared_and_nothing_else(deployed: Deployed, service: str) -> None:
    probes = [("send", name) for name in TARGETS]
    probes += [(call, name) for call in ("receive", "receive letters") for name in SOURCES]
    with deployed.client(service) as client, ThreadPoolExecutor(len(probes)) as threads:

        def probe(asked: tuple[str, str]) -> bool:
            call, name = asked
            return refused(client, call, deployed.names[name], SOURCES.get(name, False))

        results = dict(zip(probes, threads.map(probe, probes), strict=True))
    print(f"\n{service}")
    for call in ("send", "receive", "receive letters"):
        can, can_not = (
            [name for (asked, name), no in results.items() if asked == call and no is is_no] for is_no in (False, True)
        )
        print(f"  {call:<16} allowed: {', '.join(can) or '-':<40} refused: {', '.join(can_not) or '-'}")
        assert set(can) == ALLOWED[service][call.partition(" ")[0]], (service, call)


@pytest.mark.parametrize("service", ALLOWED)
def test_nobody_manages_anything(deployed: Deployed, service: str) -> None:
    with deployed.administration(service) as administration:
        for call, arguments in (("create_queue", ("mine",)), ("delete_queue", deployed.names["thumbnails"])):
            with pytest.raises(HttpResponseError) as error:
                getattr(administration, call)(*arguments)
            assert error.value.status_code in (401, 403)
