"""Making a plan's resources on a local Pub/Sub, from exactly what Pulumi's provider would get.

Inputs are Pulumi's: by type token, with camelCase keys. Topics, subscriptions and their IAM members are made by
google-cloud-pubsub, so that the server checks them as Google does; one that is there already, from a run before, is
changed to what the plan says. What the server has no service for (Cloud Monitoring, Cloud Run, Cloud KMS, Cloud
Storage, Service Usage) is kept in `recorded`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from polybus.plan.planning import Local, trusting
from polybus.plan.realising import camel as camel_name
from polybus.plan.realising import make_all
from polybus.plan.values import Json

if TYPE_CHECKING:
    from pathlib import Path

    from polybus.binding import Binding
    from polybus.clouds.gcp.plan.resources import GcpPlan
    from polybus.localcloud.pubsub.server import PubsubServer
    from polybus.topology.model import Topology

__all__ = ["LOCAL", "OTHER_AGENTS", "Realiser", "camel", "change_policy", "realise"]

Inputs = Mapping[str, Any]
Outputs = dict[str, str]

STANDARD_PORT = 8085  # of Google's emulator where it is told none
_OTHER_SERVICES = ("gcp:monitoring/", "gcp:cloudrunv2/", "gcp:kms/", "gcp:projects/", "gcp:storage/")
_BUCKET = "gcp:storage/bucket:Bucket"
OTHER_AGENTS = ("@gcp-sa-monitoring-notification.",)
"""Google's agents of other services, whose grants are on topics that are not the stack's."""

# Mappings whose keys are the user's own, not the provider's.
_VERBATIM = frozenset({"labels"})
# What a subscription keeps for its life (UpdateSubscriptionRequest): the provider makes it anew, and so do we.
_FIXED = ("topic", "filter", "enable_message_ordering")
# The number that Google would have given to the project; only IAM members name it.
_PROJECT_NUMBER = "1"


class Realiser:
    """Creates resources one by one, in an order in which what they refer to is there.

    `clients` are a PublisherClient and a SubscriberClient that are connected already, wherever they lead. With
    `ca_file` the server at `endpoint` is spoken to by TLS, and the certificate in there trusted.
    """

    def __init__(
        self,
        *,
        endpoint: str = "",
        project: str = "local",
        clients: tuple[Any, Any] | None = None,
        ca_file: Path | None = None,
    ) -> None:
        self._publisher, self._subscriber = clients or _clients(endpoint, ca_file)
        self._project = project
        self.recorded: list[tuple[str, str, dict[str, Any]]] = []
        self._makers: dict[str, Callable[[Inputs], Outputs]] = {
            "gcp:organizations/getProject:getProject": self._look_up_project,
            "gcp:storage/getProjectServiceAccount:getProjectServiceAccount": lambda given: {
                "id": self._project_of(given),
                "emailAddress": f"service-{_PROJECT_NUMBER}@gs-project-accounts.iam.gserviceaccount.com",
            },
            "gcp:pubsub/topic:Topic": self._topic,
            "gcp:pubsub/subscription:Subscription": self._subscription,
            "gcp:pubsub/topicIAMMember:TopicIAMMember": lambda given: self._member(given, "topic"),
            "gcp:pubsub/subscriptionIAMMember:SubscriptionIAMMember": lambda given: self._member(given, "subscription"),
        }

    def create(self, type_: str, name: str, inputs: Inputs) -> Outputs:
        """Make one resource and return its outputs, `id` among them.

        Raises KeyError for a type of Pub/Sub that isn't known here, protobuf's ParseError for an argument that isn't
        one of the API, and the library's own errors for what the server refuses.
        """
        elsewhere = any(agent in inputs.get("member", "") for agent in OTHER_AGENTS)
        if elsewhere or (type_.startswith(_OTHER_SERVICES) and type_ not in self._makers):
            self.recorded.append((type_, name, dict(inputs)))
            return {"id": name, "name": str(inputs["name"]) if type_ == _BUCKET else name}
        return self._makers[type_](inputs)

    def close(self) -> None:
        """Close the connections."""
        self._publisher.transport.close()
        self._subscriber.transport.close()

    def _look_up_project(self, given: Inputs) -> Outputs:
        project = self._project_of(given)
        return {"id": f"projects/{project}", "projectId": project, "number": _PROJECT_NUMBER}

    def _topic(self, given: Inputs) -> Outputs:
        from google.api_core.exceptions import AlreadyExists
        from google.pubsub_v1 import types

        path = self._path(given, "topics", given["name"])
        topic = _parsed(types.Topic.pb(), {**_without(given, "project"), "name": path})
        try:
            self._publisher.create_topic(request=types.Topic.wrap(topic))
        except AlreadyExists:
            mask = _present(topic, "name")
            self._publisher.update_topic(request={"topic": types.Topic.wrap(topic), "update_mask": mask})
        return {"id": path, "name": given["name"]}

    def _subscription(self, given: Inputs) -> Outputs:
        from google.api_core.exceptions import AlreadyExists
        from google.pubsub_v1 import types

        path = self._path(given, "subscriptions", given["name"])
        fields = {**_without(given, "project"), "name": path, "topic": self._path(given, "topics", given["topic"])}
        if fields.get("expirationPolicy") == {"ttl": ""}:
            fields["expirationPolicy"] = {}  # how the provider says never
        subscription = _parsed(types.Subscription.pb(), fields)
        wrapped = types.Subscription.wrap(subscription)
        try:
            self._subscriber.create_subscription(request=wrapped)
        except AlreadyExists:
            found = self._subscriber.get_subscription(subscription=path)
            if all(getattr(found, field) == getattr(wrapped, field) for field in _FIXED):
                mask = _present(subscription, "name", *_FIXED)
                self._subscriber.update_subscription(request={"subscription": wrapped, "update_mask": mask})
            else:
                self._subscriber.delete_subscription(subscription=path)
                self._subscriber.create_subscription(request=wrapped)
        return {"id": path, "name": given["name"]}

    def _member(self, given: Inputs, kind: str) -> Outputs:
        role, member = given["role"], given["member"]
        resource = self._path(given, f"{kind}s", given[kind])

        def added(policy: Any) -> bool:
            if any(one.role == role and member in one.members for one in policy.bindings):
                return False
            policy.bindings.add(role=role, members=[member])
            return True

        change_policy(self._publisher if kind == "topic" else self._subscriber, resource, added)
        return {"id": f"{resource}/{given['role']}/{given['member']}"}

    def _project_of(self, given: Inputs) -> str:
        return str(given.get("project") or given.get("projectId") or self._project)

    def _path(self, given: Inputs, kind: str, name: str) -> str:
        return name if "/" in name else f"projects/{self._project_of(given)}/{kind}/{name}"


def change_policy(client: Any, resource: str, change: Callable[[Any], bool]) -> None:
    """Change the policy of one topic or subscription by `change`, which returns whether it did anything.

    Another may change the same policy at the same time, to which the server answers ABORTED: it is read and changed
    again. Each refusal is another one's success, so that as many attempts are enough as there are others.
    """
    from google.api_core.exceptions import Aborted

    while True:
        policy = client.get_iam_policy(request={"resource": resource})
        if not change(policy):
            return
        try:
            client.set_iam_policy(request={"resource": resource, "policy": policy})
        except Aborted:
            continue
        return


def realise(plan: GcpPlan, *, endpoint: str, project: str = "local", ca_file: Path | None = None) -> Binding:
    """Make everything in a plan on the server at `endpoint` (HOST:PORT), and return the binding that reaches it.

    With `ca_file` by TLS, with the certificate in there.
    """
    from polybus.clouds.gcp.plan.resources import binding

    realiser = Realiser(endpoint=endpoint, project=project, ca_file=ca_file)
    return binding(plan, make_all(plan, realiser, camel))


def _clients(endpoint: str, ca_file: Path | None) -> tuple[Any, Any]:
    """Connect to a server that takes anyone."""
    import grpc
    from google.pubsub_v1 import PublisherClient, SubscriberClient
    from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
    from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

    # Whatever proxy the environment names: it has another loopback than this machine.
    options = [("grpc.enable_http_proxy", 0)]
    if ca_file is None:
        channel = grpc.insecure_channel(endpoint, options=options)
    else:
        channel = grpc.secure_channel(endpoint, grpc.ssl_channel_credentials(ca_file.read_bytes()), options=options)
    return (
        PublisherClient(transport=PublisherGrpcTransport(channel=channel)),
        SubscriberClient(transport=SubscriberGrpcTransport(channel=channel)),
    )


def camel(value: Any) -> Any:
    """Return properties as Pulumi's engine has them, at every depth: `dead_letter_policy` is deadLetterPolicy."""
    if isinstance(value, Mapping):
        return {camel_name(key): item if key in _VERBATIM else camel(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [camel(item) for item in value]
    return value


def _without(given: Inputs, *names: str) -> dict[str, Any]:
    return {key: _plain(value) for key, value in given.items() if key not in names}


def _plain(value: Any) -> Any:
    """Make whole numbers of floats: numbers reach providers as floats."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value.value if isinstance(value, Json) else value


def _present(message: Any, *without: str) -> dict[str, list[str]]:
    """Return an update mask of what is set in a message."""
    return {"paths": [field.name for field, _ in message.ListFields() if field.name not in without]}


def _parsed(kind: Any, fields: dict[str, Any]) -> Any:
    """Return the API's message: its JSON form has the provider's names."""
    from google.protobuf.json_format import ParseDict

    return ParseDict(fields, kind())


def _server(host: str, port: int, data: Path | None) -> PubsubServer:
    from polybus.localcloud.pubsub.server import PubsubServer

    return PubsubServer(host=host, port=port, data=data)


def _plan(topology: Topology) -> GcpPlan:
    from polybus.clouds.gcp.plan.resources import GcpSettings, plan

    return plan(topology, GcpSettings(project="local", bodies_location="local"))


def _realise(plan: GcpPlan, server: PubsubServer) -> Binding:
    ca_file = server.certificate
    endpoint = f"{server.host}:{server.port if ca_file is None else server.tls_port}"
    made = realise(plan, endpoint=endpoint, project=server.project, ca_file=ca_file)
    trust = {} if ca_file is None else {"ca_file": str(ca_file)}
    # What there is comes at once from this server, so that a look that finds no dead letters needn't wait for them.
    return msgspec.structs.replace(made, settings={**made.settings, "endpoint": endpoint, "look": 2.0, **trust})


def _standard(host: str, data: Path | None) -> PubsubServer:
    return _server(host, STANDARD_PORT, data)


def _switches(language: str, environment: Mapping[str, str]) -> Mapping[str, str]:
    if "PUBSUB_CA_FILE" not in environment:
        return {}
    # Python's gRPC reads a variable of its own; the SDK trusts nothing else then.
    if language == "python":
        return {"GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": environment["PUBSUB_CA_BUNDLE"]}
    return trusting(
        language, environment["PUBSUB_CA_FILE"], environment["PUBSUB_CA_BUNDLE"], environment["PUBSUB_TRUST_STORE"]
    )


LOCAL = Local(
    ("google.pubsub_v1",),
    _server,
    _plan,
    _realise,
    patience=10.0,
    standard=_standard,
    switches=_switches,
    secure=lambda server: server.secure(),
)
