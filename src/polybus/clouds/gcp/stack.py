"""Pub/Sub through pulumi-gcp."""

from __future__ import annotations

from polybus.clouds.gcp.plan.planning import PLANNING
from polybus.clouds.gcp.plan.resources import GcpSettings
from polybus.provision.cloud import Provider
from polybus.provision.config import StackConfig
from polybus.provision.sdk import Sdk

__all__ = ["PROVIDER"]

_KEYS = {
    "projectNumber": "the project's number, which saves a look-up",
    "regions": "the regions where messages may be stored",
    "endpoint": "the host by which services reach Pub/Sub: a regional one, or of Private Service Connect",
    "serviceIdentity": "whether Google is asked to make the Pub/Sub service agent",
    "kmsKey": "the resource name of a customer-managed key",
    "pushAccount": "the e-mail of the service account that push requests are signed for",
    "members": "the member of each service, such as serviceAccount:<email>",
    "functions": "the URL of each Cloud Run service that a push names",
    "bodiesLocation": "where large bodies are stored, such as europe-west1 or EU; by default the first of regions",
    "bindings": "secretmanager, to put each service's binding into a secret",
}


def _settings(config: StackConfig) -> GcpSettings:
    return GcpSettings(
        stack=config.stack,
        project=config.of("gcp", "project"),
        project_number=config.text("projectNumber"),
        regions=config.texts("regions"),
        endpoint=config.text("endpoint"),
        universe_domain=config.of("gcp", "universeDomain"),
        service_identity=config.boolean("serviceIdentity") is not False,
        kms_key=config.text("kmsKey"),
        push_account=config.text("pushAccount"),
        labels=config.texts_by_name("tags"),
        members=config.texts_by_name("members"),
        functions=config.texts_by_name("functions"),
        bodies_location=config.text("bodiesLocation"),
        bindings="secretmanager" if config.one_of("bindings", ("secretmanager",)) else None,
    )


_FIRST = """\
gcp:project: {bus}-prod
# Where messages may be stored; of a single region services use the regional endpoint.
# polybus:regions: [europe-west1]
# The member of each service, which gets its roles.
# polybus:members:
#   billing: serviceAccount:billing@{bus}-prod.iam.gserviceaccount.com
"""


def _first(bus: str) -> tuple[str, str]:
    project = bus.lower().replace("_", "-")  # an id has no others
    return f"gcp:project: {project}-dev\n", _FIRST.format(bus=project)


PROVIDER = Provider(
    name="gcp",
    planning=PLANNING,
    sdk=Sdk("pulumi_gcp", "gcp-stack"),
    settings=_settings,
    keys=_KEYS,
    who="members",
    inputs=frozenset({"project_number", "kms_key", "push_account", "members", "functions"}),
    first=_first,
)
