"""What no cloud changes in place, held to the SDKs that are installed and to what the providers' sources say.

The SDKs for Python carry names and descriptions, and no flags: a description that speaks of replacement is compared,
everything else is as the providers' sources have it, in each cloud's provider_facts.py.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator

import pytest

from polybus.plan.planning import immutable, unannounced

from .test_arguments import class_of, resources

TYPES = sorted({resource.type for resource in resources() if resource.kind != "lookup"})
# Of accounts of another kind than plans have.
OTHERS = {("azure-native:storage:StorageAccount", "access_tier")}
SAYS = re.compile(r"replacement|recreat|forces? (a )?new|is immutable|cannot be changed", re.IGNORECASE)

# The SDKs themselves warn, at import, of modules of theirs that moved.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def arguments(type_: str) -> frozenset[str]:
    return frozenset(inspect.signature(class_of(type_)._internal_init).parameters)


def described(type_: str) -> Iterator[tuple[str, str]]:
    """Give each argument with the SDK's description of it."""
    made = class_of(type_)
    given = getattr(sys.modules[made.__module__], f"{made.__name__}Args")
    for part in re.split(r"(?m)^\s*:param ", given.__init__.__doc__ or "")[1:]:
        head, _, text = part.partition(": ")
        yield head.split()[-1], " ".join(text.split())


@pytest.mark.parametrize("type_", TYPES)
def test_what_is_fixed_is_an_argument(type_: str) -> None:
    assert immutable(type_) <= arguments(type_)
    assert unannounced(type_) <= immutable(type_)


@pytest.mark.parametrize("type_", TYPES)
def test_what_the_sdk_describes_as_fixed_is_known(type_: str) -> None:
    said = {name for name, text in described(type_) if SAYS.search(text) and (type_, name) not in OTHERS}
    assert said <= immutable(type_)


def test_the_descriptions_are_read() -> None:
    found = {(type_, name) for type_ in TYPES for name, text in described(type_) if SAYS.search(text)}
    assert {
        ("azure-native:resources:ResourceGroup", "location"),
        ("gcp:pubsub/topic:Topic", "tags"),
        ("gcp:pubsub/subscription:Subscription", "tags"),
    } <= found


@pytest.mark.parametrize("type_", [type_ for type_ in TYPES if type_.startswith("aws:")])
def test_another_region_is_another_resource(type_: str) -> None:
    """pulumi-aws 7 takes a region for each resource; IAM has none."""
    assert ("region" in immutable(type_)) is ("region" in arguments(type_))


@pytest.mark.parametrize("type_", TYPES)
def test_what_names_a_resource_is_fixed(type_: str) -> None:
    """A path of Azure's API and a `name` that bridged providers take; monitoring's own ids are Google's to give."""
    kind = type_.rpartition(":")[2]
    own = re.sub(r"(?<!^)([A-Z])", r"_\1", kind).lower() + "_name"
    azure = type_.startswith("azure-native:")  # where a `name` is one in the body, which names nothing
    naming = {own, "namespace_name", "resource_group_name"} if azure else {own, "name", "name_prefix"}
    assert naming & arguments(type_) <= immutable(type_)


def test_what_azure_refuses_to_change_and_its_provider_does_not_know() -> None:
    """The provider would try, and the whole update fail; of topics and queues, and of others' regions, it knows."""
    assert {type_: unannounced(type_) for type_ in TYPES if unannounced(type_)} == {
        "azure-native:network:PrivateEndpoint": {"location"},
        "azure-native:servicebus:Subscription": {"requires_session"},
    }


def test_a_namespace_takes_other_zones_in_place() -> None:
    """pulumi-azure-native's noForceNewMap (its issue 4105)."""
    assert "zone_redundant" not in immutable("azure-native:servicebus:Namespace")


@pytest.mark.parametrize(
    ("type_", "fixed"),
    [
        ("aws:lambda/permission:Permission", {"invoked_via_function_url"}),
        ("aws:cloudwatch/compositeAlarm:CompositeAlarm", {"actions_enabled"}),
        ("aws:ssm/parameter:Parameter", {"data_type"}),
        *((type_, {"condition"}) for type_ in TYPES if re.search("I[Aa][Mm]Member$", type_)),
        ("gcp:secretmanager/secretIamMember:SecretIamMember", {"condition"}),
        ("gcp:secretmanager/secret:Secret", {"tags"}),
        (
            "gcp:secretmanager/secretVersion:SecretVersion",
            {"project", "is_secret_data_base64", "secret_data_wo_version"},
        ),
    ],
)
def test_what_plans_do_not_set_is_fixed_as_well(type_: str, fixed: set[str]) -> None:
    """A pass-through table or a hand in the program may."""
    assert fixed <= immutable(type_) & arguments(type_)


def test_azure_s_provider_changes_what_a_role_assignment_grants() -> None:
    """The provider would change the role in place; its name says the role, so that another is another one."""
    assert "role_definition_id" not in immutable("azure-native:authorization:RoleAssignment")
