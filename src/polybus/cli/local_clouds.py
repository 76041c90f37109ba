"""The local clouds, by name: how each is planned and started, and how a plan becomes real on it."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polybus.errors import MissingExtra

if TYPE_CHECKING:
    from polybus.binding import Binding
    from polybus.localcloud.server import LocalServer
    from polybus.topology.model import Topology

__all__ = ["LOCAL_CLOUDS", "LocalCloud", "load"]


@dataclass(frozen=True, slots=True)
class LocalCloud:
    """What differs between them.

    `plan` is pure and raises UnsupportedFeature. `realise` makes a plan's resources on a started server and returns the
    binding by which it is reached there; it blocks, while the server runs elsewhere, and may be called again on what
    is there already.
    """

    modules: tuple[str, ...]
    plan: Callable[[Topology], Any]
    realise: Callable[[Any, Any], Binding]


def load(cloud: str, *, port: int, data: Path | None) -> LocalServer:
    """Build a cloud's server; raises MissingExtra where it or the cloud's SDK isn't installed."""
    from polybus.localcloud import run
    from polybus.localcloud.server import LOOPBACK

    try:
        for module in LOCAL_CLOUDS[cloud].modules:
            importlib.import_module(module)
        return run.load(cloud, host=LOOPBACK, port=port, data=data)
    except ModuleNotFoundError as error:
        raise MissingExtra(f"{error.name} (for the local {cloud})", f"{cloud},local") from error


def _plan_aws(topology: Topology) -> Any:
    from polybus.clouds.aws.plan.resources import AwsSettings, plan

    return plan(topology, AwsSettings(region="us-east-1"))


def _realise_aws(plan: Any, server: Any) -> Binding:
    import msgspec

    from polybus.clouds.aws.local import realise

    made = realise(plan, endpoint=server.url, region=server.region)
    # With the endpoint in it, the binding can't reach a real account, whatever the environment says. A service that is
    # told to stop awaits its long poll: here polls cost nothing, so short ones let it stop at once.
    return msgspec.structs.replace(made, settings={**made.settings, "endpoint": server.url, "long_poll": 1})


def _plan_gcp(topology: Topology) -> Any:
    from polybus.clouds.gcp.plan.resources import GcpSettings, plan

    return plan(topology, GcpSettings(project="local"))


def _realise_gcp(plan: Any, server: Any) -> Binding:
    import msgspec

    from polybus.clouds.gcp.local import realise

    endpoint = f"{server.host}:{server.port}"
    made = realise(plan, endpoint=endpoint, project=server.project)
    # What there is comes at once from this server, so that a look that finds no dead letters needn't wait for them.
    return msgspec.structs.replace(made, settings={**made.settings, "endpoint": endpoint, "look": 2.0})


def _plan_azure(topology: Topology) -> Any:
    from polybus.clouds.azure.plan.resources import AzureSettings, plan

    return plan(topology, AzureSettings())


def _realise_azure(plan: Any, server: Any) -> Binding:
    from polybus.clouds.azure.local import realise

    return realise(plan, connection_string=server.connection_string(), ca_file=server.certificate)


LOCAL_CLOUDS: Mapping[str, LocalCloud] = {
    "aws": LocalCloud(("boto3",), _plan_aws, _realise_aws),
    "azure": LocalCloud(("azure.servicebus", "aiohttp"), _plan_azure, _realise_azure),
    "gcp": LocalCloud(("google.pubsub_v1",), _plan_gcp, _realise_gcp),
}
