"""A plan as Terraform JSON: references, JSON texts, what waits for what, what a provider can't be told; and all of it.

That every type and argument which a plan can have is translated is proved on the random stacks that reach everything.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given

from polybus.clouds.aws.plan import resources as aws
from polybus.clouds.aws.plan.terraform import BRIDGE as AWS
from polybus.clouds.azure.plan.terraform import TYPES as ARM
from polybus.clouds.azure.plan.terraform import camel
from polybus.clouds.azure.plan.terraform_names import TABLES as AZAPI
from polybus.clouds.gcp.plan import resources as gcp
from polybus.clouds.gcp.plan.terraform import BRIDGE as GOOGLE
from polybus.errors import ConfigError, UnsupportedFeature
from polybus.plan.planning import planning_of
from polybus.plan.terraform.bridged import Bridge, Most, Names, Type
from polybus.plan.terraform.document import Exported, Variable, address, document, outputs_of, variable
from polybus.plan.terraform.expression import expression, template
from polybus.plan.terraform.model import Terraform, as_written, version_of
from polybus.plan.values import Join, Json, Ref, Resource, refs
from polybus.registry import find
from polybus.topology.file import loads

from .arm_names import NAMES as ARM_NAMES
from .everything import Stack, stacks
from .test_limits import each_cloud, planned
from .test_proofs_everything import few

BRIDGES = {"aws": AWS, "gcp": GOOGLE}


def terraform_of(cloud: str) -> Terraform:
    found: Terraform = find(cloud).load("terraform")
    return found


def exported(cloud: str, stack: Stack, **more: Any) -> Exported:
    planning = planning_of(cloud)
    plan = planning.plan(stack.topology, stack.settings)
    outputs = outputs_of(plan, planning)
    return document(plan, terraform_of(cloud), outputs=outputs, settings=stack.settings, title="a test", **more)


# -- Values ------------------------------------------------------------------------------------------------------------


def address_of(ref: Ref) -> str:
    return ref.output if ref.resource == "=" else f"aws_x.{ref.resource}.{ref.output}"


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("plain", "plain"),
        ("${no} %{template} $x", "$${no} %%{template} $x"),
        (Ref("a", "arn"), "${aws_x.a.arn}"),
        (as_written("var.location"), "${var.location}"),
        (Join(("see ${this}: ", Ref("a", "arn"), "/x")), "see $${this}: ${aws_x.a.arn}/x"),
        ({"a": [Ref("a", "id"), 1, True, None, 0.5]}, {"a": ["${aws_x.a.id}", 1, True, None, 0.5]}),
        (Json({"a": ["${x}", 'q"', 1]}), '{"a":["$${x}","q\\"",1]}'),
        (Json({"a": Ref("a", "arn"), "b": 'q"\n'}), '${jsonencode({"a" = aws_x.a.arn, "b" = "q\\"\\n"})}'),
        (
            Json([Join(("${", Ref("a", "id"))), False, None, 1.5]),
            '${jsonencode(["$${${aws_x.a.id}", false, null, 1.5])}',
        ),
    ],
)
def test_a_value_is_written_as_terraform_reads_it(value: Any, written: Any) -> None:
    assert template(value, address_of) == written


def test_a_text_in_an_expression_has_no_character_that_ends_it() -> None:
    assert expression('a"\\\x00\x1f\t é', address_of) == '"a\\"\\\\\\u0000\\u001f\\t é"'
    assert expression({"aws:X": Json({"a": 1})}, address_of) == '{"aws:X" = jsonencode({"a" = 1})}'


def test_what_is_no_value_of_a_plan_is_not_written() -> None:
    with pytest.raises(TypeError, match="object is no value of a plan"):
        template({"a": object()}, address_of)


# -- A document --------------------------------------------------------------------------------------------------------

THING = "acme:thing:Thing"
BRIDGE = Bridge(
    provider="acme",
    types={
        THING: Type("acme_thing", renamed={"size": "max_size", "inner.topic": "topic_arn"}, outputs={"arn": "arn"}),
        "acme:new:New": Type("acme_new", provider="acme-beta"),
        "acme:look:Look": Type("acme_look", outputs={"half": "split(1, {}.whole)"}, data=True),
    },
    names=(
        Names(
            "2.0.0",
            {
                "acme_thing": "name! max_size inner inner.topic_arn! tags policy newer",
                "acme_look": "name",
                "acme_new": "name",
            },
        ),
        Names(
            "1.2.0",
            {
                "acme_thing": "name! max_size inner inner.topic_arn! tags policy",
                "acme_look": "name",
                "acme_new": "name",
            },
        ),
    ),
    bounds=(Most("acme_thing", "max_size", 10, before="1.5.0"),),
    usual={"acme_thing.newer": 7},
)
ACME = Terraform(
    provider="acme",
    source="acme/acme",
    newest="2.0.0",
    oldest="1.2.0",
    translate=BRIDGE.translate,
    outputs=BRIDGE.outputs(),
    others={"acme-beta": "acme/beta"},
    configured=lambda settings: {"place": settings},
)


@dataclasses.dataclass(frozen=True)
class Plan:
    resources: tuple[Resource, ...]
    topology: Any = None


def thing(name: str, **more: Any) -> Resource:
    kept = {key: more.pop(key) for key in ("after", "keeps_messages", "stays") if key in more}
    return Resource(THING, name, {"name": name, **more}, "thing", "$", **kept)


def written(*resources: Resource, binding: Mapping[str, Any] | None = None, **more: Any) -> Exported:
    outputs = {"polybus": dict(binding or {})}
    return document(Plan(resources), ACME, outputs=outputs, settings="here", title="from ${x}", **more)


def block(found: Exported, name: str) -> Any:
    return found.document["resource"]["acme_thing"][name]


def test_a_document_has_the_provider_its_version_and_the_binding_with_references() -> None:
    found = written(thing("a"), binding={"at": Ref("a", "arn"), "text": Json({"at": Ref("a", "arn")})})
    assert found.document == {
        "//": "from ${x}",
        "terraform": {
            "required_version": ">= 1.0.0",
            "required_providers": {"acme": {"source": "acme/acme", "version": ">= 2.0.0, < 3.0.0"}},
        },
        "provider": {"acme": {"place": "here"}},
        "resource": {"acme_thing": {"a": {"name": "a"}}},
        "output": {
            "polybus": {"value": {"at": "${acme_thing.a.arn}", "text": '${jsonencode({"at" = acme_thing.a.arn})}'}}
        },
    }
    assert found.gaps == {}


def test_a_plan_of_nothing_has_no_block_for_resources() -> None:
    """Terraform takes an empty one for a block without a label."""
    assert "resource" not in written().document


def test_arguments_are_called_as_they_are_there_at_any_depth_and_tags_are_data() -> None:
    found = written(thing("a"), thing("b", size=3, inner=[{"topic": Ref("a", "arn")}], tags={"size": "big"}))
    assert block(found, "b") == {
        "name": "b",
        "max_size": 3,
        "inner": [{"topic_arn": "${acme_thing.a.arn}"}],
        "tags": {"size": "big"},
    }


def test_what_waits_for_another_depends_on_its_address_and_what_is_read_is_data() -> None:
    look = Resource("acme:look:Look", "it.self", {}, "lookup", "$")
    found = written(look, thing("a"), thing("b", after=("a", "it.self"), policy=Ref("it.self", "half")))
    assert block(found, "b") == {
        "name": "b",
        "policy": "${split(1, data.acme_look.it__self.whole)}",
        "depends_on": ["acme_thing.a", "data.acme_look.it__self"],
    }
    assert found.document["data"] == {"acme_look": {"it__self": {}}}


def test_protect_is_of_what_holds_messages_and_an_alias_of_all() -> None:
    found = written(thing("a", keeps_messages=True), thing("b"), protect=True, alias="eu")
    assert block(found, "a") == {"provider": "acme.eu", "name": "a", "lifecycle": {"prevent_destroy": True}}
    assert block(found, "b") == {"provider": "acme.eu", "name": "b"}
    assert found.document["provider"] == {"acme": {"alias": "eu", "place": "here"}}
    assert "lifecycle" not in block(written(thing("a", keeps_messages=True)), "a")


WATCHED = """
[bus]
name = "shop"
[alarms]
notify = { email = "ops@example.com" }
[topics.orders]
[subscriptions.billing]
topic = "orders"
[services.biller]
consumes = ["billing"]
"""


@pytest.mark.parametrize(
    ("cloud", "settings", "named", "referred"),
    [
        ("aws", aws.AwsSettings(composite_alarms="bus"), "alarm", {"aws:sns/topic:Topic"}),
        ("aws", aws.AwsSettings(composite_alarms="service"), "alarm", {"aws:sns/topic:Topic"}),
        ("aws", aws.AwsSettings(), "", set()),
        ("gcp", gcp.GcpSettings(project="p"), "alarms-", set()),
    ],
)
def test_what_is_named_is_deleted_after_what_names_it_was_changed(
    cloud: str, settings: Any, named: str, referred: set[str]
) -> None:
    """Where it is made before it is destroyed; so is all that it refers to, which must have another name then."""
    topology = loads(WATCHED, source="shop.toml")
    resources = {one.name: one for one in planning_of(cloud).plan(topology, settings).resources}
    found = exported(cloud, Stack(topology, settings)).document["resource"]
    first = {label for blocks in found.values() for label, one in blocks.items() if one.get("lifecycle") == FIRST}
    by_label = {address(name): one for name, one in resources.items()}
    assert bool(first) == bool(named)
    assert all(named in label and by_label[label].type in terraform_of(cloud).last for label in first)
    of = [ref.resource for label in first for ref in refs(dict(by_label[label].properties))]
    assert {resources[name].type for name in of} <= referred, "of which a name alone makes another one"


FIRST = {"create_before_destroy": True}


def test_a_type_that_another_provider_has_brings_it_configured_alike() -> None:
    new = Resource("acme:new:New", "n", {"name": "n"}, "thing", "$")
    found = written(thing("a"), new).document
    assert found["terraform"]["required_providers"]["acme-beta"] == {
        "source": "acme/beta",
        "version": ">= 2.0.0, < 3.0.0",
    }
    assert found["provider"] == {"acme": {"place": "here"}, "acme-beta": {"place": "here"}}
    assert found["resource"]["acme_new"]["n"] == {"provider": "acme-beta", "name": "n"}
    aliased = written(new, alias="eu").document
    assert aliased["resource"]["acme_new"]["n"]["provider"] == "acme-beta.eu"


def test_what_a_version_can_not_be_told_is_named_where_it_is_and_not_dropped_in_silence() -> None:
    found = written(thing("a", newer=8, size=12, unheard="of ${it}"), thing("b", newer=7, size=10), version="1.2")
    words = [
        "acme 1.2.0 isn't known to take acme_thing.newer; acme 2.0.0 does: left out",
        "acme 1.2.0 takes no acme_thing.max_size above 10; acme 1.5.0 does: 10 in place of 12",
        "acme 1.2.0 isn't known to take acme_thing.unheard: left out",
    ]
    assert [gap.words for gap in found.gaps["acme_thing.a"]] == words
    assert block(found, "a") == {"//": "; ".join(words), "name": "a", "max_size": 10}
    assert block(found, "b") == {"name": "b", "max_size": 10}, "the cloud does by itself what is left out of it"
    assert list(found.gaps) == ["acme_thing.a"]


def test_a_version_between_two_has_what_the_older_one_has() -> None:
    found = written(thing("a", newer=8, size=12), version="1.5.3")
    assert block(found, "a")["max_size"] == 12
    assert [gap.argument for gap in found.gaps["acme_thing.a"]] == ["newer"]
    assert written(thing("a", newer=8, size=12), version="3.1.0").gaps == {}


@pytest.mark.parametrize("version", ["1.1.9", "0.9"])
def test_a_version_that_is_too_old_is_refused(version: str) -> None:
    with pytest.raises(ConfigError, match=re.escape("allowed: 1.2.0 and newer")):
        written(thing("a"), version=version)


@pytest.mark.parametrize("text", ["", "1", "~> 5.0", "5.x", "1.2.3.4"])
def test_what_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="allowed: two or three numbers"):
        version_of(text)


def test_a_type_without_a_translation_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedFeature, match="a: acme:other:Other has no translation for Terraform yet"):
        written(Resource("acme:other:Other", "a", {}, "thing", "$"))


def test_an_output_that_is_not_known_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedFeature, match="a: acme:thing:Thing has no output 'etag' in Terraform that is known"):
        written(thing("a"), thing("b", policy=Ref("a", "etag")))


def test_a_setting_may_be_a_variable_wherever_it_ends_up() -> None:
    secret = variable("secret")
    found = written(
        thing("a", policy=Json({"who": f"user:{secret}"}), tags={"owner": secret}),
        variables=[Variable("secret", "of mine", sensitive=True)],
        binding={"who": secret},
    )
    assert block(found, "a") == {
        "name": "a",
        "policy": '${jsonencode({"who" = "user:${var.secret}"})}',
        "tags": {"owner": "${var.secret}"},
    }
    assert found.document["variable"] == {"secret": {"type": "string", "description": "of mine", "sensitive": True}}
    assert found.document["output"]["polybus"] == {"value": {"who": "${var.secret}"}, "sensitive": True}
    assert "\\u0000" not in json.dumps(found.document)


def test_what_should_stay_on_the_cloud_is_named_since_terraform_would_destroy_it() -> None:
    found = written(thing("a", stays=True))
    assert "`terraform state rm` takes it out before" in block(found, "a")["//"]
    assert list(found.gaps) == ["acme_thing.a"]


def test_a_variable_is_no_name_of_a_tag() -> None:
    with pytest.raises(ConfigError, match="only its value"):
        written(thing("a", tags={variable("x"): "y"}))


def test_no_two_logical_names_have_one_label() -> None:
    names = [
        "bus.alarms-topic",
        "bus__alarms-topic",
        "bus_alarms-topic",
        "a.b__c",
        "a__b.c",
        "a.b.c",
        "1.a",
        "_1.a",
        "é.a",
    ]
    assert len({address(name) for name in names}) == len(names)
    assert address("orders-topic") == "orders-topic"
    assert address("bus.alarms-topic") == "bus__alarms-topic"
    assert all(re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]*", address(name)) for name in names)


# -- All that is planned -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cloud", ["aws", "gcp"])
def test_everything_that_is_planned_is_in_the_provider_s_schema_with_all_that_it_requires(cloud: str) -> None:
    @few
    @given(stack=stacks(cloud, fan=False))
    def proof(stack: Stack) -> None:
        found = exported(cloud, stack)
        assert untold(found) == set()
        names = BRIDGES[cloud].names[0]
        for kind in ("resource", "data"):
            for type_, blocks in found.document.get(kind, {}).items():
                for label, arguments in blocks.items():
                    assert problems(names, type_, arguments) == [], label

    proof()


def problems(names: Names, type_: str, arguments: Mapping[str, Any]) -> list[str]:
    """Hold a block to the names of a schema: what isn't there, and what is required and isn't given."""
    given_ = {path for path in paths(names.known[type_], arguments) if path not in META}
    unknown = sorted(given_ - names.known[type_])
    required = {
        path for path in names.required[type_] if not path.rpartition(".")[0] or path.rpartition(".")[0] in given_
    }
    return [*unknown, *(f"{path} is required" for path in sorted(required - given_))]


META = frozenset({"depends_on", "lifecycle", "lifecycle.prevent_destroy", "provider", "//"})


def paths(known: frozenset[str], value: Any, within: str = "") -> Iterator[str]:
    """Give the dotted names of arguments; a table whose names the schema doesn't have is data."""
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, dict):
            for name, inner in item.items():
                yield f"{within}{name}"
                if any(one.startswith(f"{within}{name}.") for one in known):
                    yield from paths(known, inner, f"{within}{name}.")


def test_a_block_is_held_to_the_schema() -> None:
    names = Names("1.0.0", {"t": "name! rule rule.what! tags"})
    assert problems(names, "t", {"name": 1, "rule": [{"what": 1}], "tags": {"x": "y"}, "depends_on": []}) == []
    assert problems(names, "t", {"rule": {"waht": 1}}) == ["rule.waht", "name is required", "rule.what is required"]
    assert problems(names, "t", {"name": 1}) == []


@pytest.mark.parametrize("cloud", ["aws", "gcp"])
def test_what_the_oldest_version_lacks_of_a_plan_is_this_and_no_more(cloud: str) -> None:
    lacking = {"aws": {"max_message_size", "maximum_message_size"}, "gcp": set()}[cloud]

    @few
    @given(stack=stacks(cloud, fan=False))
    def proof(stack: Stack) -> None:
        assert untold(exported(cloud, stack, version=terraform_of(cloud).oldest)) <= lacking

    proof()


def untold(found: Exported) -> set[str]:
    """Give the arguments that the provider isn't told."""
    return {gap.argument for gaps in found.gaps.values() for gap in gaps} - {""}


@each_cloud
def test_every_reference_leads_to_a_block_that_is_there(cloud: str) -> None:
    types = {"aws": "aws", "azure": "azapi", "gcp": "google"}[cloud]

    @few
    @given(stack=stacks(cloud, fan=False))
    def proof(stack: Stack) -> None:
        found = exported(cloud, stack).document
        there = {f"{type_}.{label}" for type_, blocks in found.get("resource", {}).items() for label in blocks}
        there |= {f"data.{type_}.{label}" for type_, blocks in found.get("data", {}).items() for label in blocks}
        text = json.dumps({**found, "//": ""})
        asked = set(re.findall(rf"(?<![\w-])((?:data\.)?{types}_\w+\.[A-Za-z][\w-]*)\.", text))
        asked |= {name for block in blocks_of(found) for name in block.get("depends_on", ())}
        assert asked <= there
        plan = planned(stack, cloud)
        assert len(there - {"data.azapi_client_config.current"}) == len(plan)
        waits = {address(name): resource.after for name, resource in plan.items() if resource.after}
        labelled = {label: item for made in found.get("resource", {}).values() for label, item in made.items()}
        assert {label: len(after) for label, after in waits.items()} == {
            label: len(item["depends_on"]) for label, item in labelled.items() if "depends_on" in item
        }

    proof()


def blocks_of(found: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for blocks in found.get("resource", {}).values():
        yield from blocks.values()


@each_cloud
def test_every_type_that_is_known_to_a_plan_has_a_translation(cloud: str) -> None:
    """What is immutable is said of each type that a plan may have."""
    types = ARM if cloud == "azure" else BRIDGES[cloud].types
    assert planning_of(cloud).immutable.keys() - types.keys() == set()


@pytest.mark.parametrize("cloud", ["aws", "gcp"])
def test_every_argument_that_may_be_passed_on_has_a_name_there(cloud: str) -> None:
    """But for what the provider computes: Pulumi's SDK has it among the arguments."""
    computed = {"cloud_storage_config.state", "cloud_storage_config.text_config.state"}
    bridge = BRIDGES[cloud]
    for type_, names in planning_of(cloud).arguments.items():
        one = bridge.types[type_]
        given_ = {name: name.split(".") for name in names}
        theirs = {
            name: ".".join(one.renamed.get(".".join(parts[: at + 1]), part) for at, part in enumerate(parts))
            for name, parts in given_.items()
        }
        lacking = {name for name, path in theirs.items() if path not in bridge.names[0].known[one.type]}
        assert lacking <= computed, type_


def test_azapi_is_given_what_it_takes() -> None:
    (table,) = AZAPI.values()
    names = Names("0", table)

    @few
    @given(stack=stacks("azure", fan=False))
    def proof(stack: Stack) -> None:
        found = exported("azure", stack, protect=True)
        assert found.gaps == {}
        for type_, blocks in found.document["resource"].items():
            for label, arguments in blocks.items():
                assert problems(names, type_, {**arguments, "body": {}}) == [], label

    proof()


def test_azure_is_sent_what_its_api_takes_with_all_that_it_requires() -> None:
    names = Names("0", ARM_NAMES)

    @few
    @given(stack=stacks("azure", fan=False))
    def proof(stack: Stack) -> None:
        found = exported("azure", stack).document["resource"]
        blocks = {label: block for made in found.values() for label, block in made.items()}
        for name, resource in planned(stack, "azure").items():
            body = undotted(blocks[address(name)]["body"])
            assert problems(names, resource.type, body) == [], name

    proof()


def undotted(value: Any) -> Any:
    """Write a dot that is part of a name as the table does."""
    if isinstance(value, dict):
        return {key.replace(".", "~"): undotted(item) for key, item in value.items()}
    return [undotted(item) for item in value] if isinstance(value, list) else value


def test_every_argument_that_may_be_passed_on_to_azure_has_a_name_there() -> None:
    for type_, names in planning_of("azure").arguments.items():
        placed = {ARM[type_].name, *(name for name, _ in ARM[type_].inside)}
        sent = {"properties." + ".".join(camel(part) for part in name.split(".")) for name in names - placed}
        assert sent - Names("0", ARM_NAMES).known[type_] == set(), type_


# -- Azure's own -------------------------------------------------------------------------------------------------------

SHOP = '[bus]\nname = "shop"\n[topics.orders]\n[subscriptions.billing]\ntopic = "orders"\n'
GROUP = "/subscriptions/1/resourceGroups/g/providers/Microsoft.ServiceBus/namespaces/shop-ns"


def azure(text: str, **settings: Any) -> Mapping[str, Any]:
    topology = loads(text, source="polybus.toml")
    made = planning_of("azure").settings(**settings)
    return exported("azure", Stack(topology, made)).document


def test_azure_s_parents_are_references_or_ids() -> None:
    found = azure(SHOP)["resource"]
    made = found["azapi_resource"]
    subscription = "/subscriptions/${data.azapi_client_config.current.subscription_id}"
    assert made["resource-group"]["parent_id"] == subscription
    assert made["namespace"]["parent_id"] == "${azapi_resource.resource-group.id}"
    assert made["orders-topic"]["parent_id"] == "${azapi_resource.namespace.id}"
    assert made["billing-subscription"]["parent_id"] == "${azapi_resource.orders-topic.id}"
    rule = found["azapi_update_resource"]["billing-rule"]
    assert (rule["parent_id"], rule["name"]) == ("${azapi_resource.billing-subscription.id}", "$Default")
    given_ = azure(SHOP, resource_group="g")["resource"]["azapi_resource"]
    assert given_["namespace"]["parent_id"] == f"{subscription}/resourceGroups/g"


def test_azure_s_adopted_topic_is_a_parent_by_its_name() -> None:
    adopted = SHOP.replace("[topics.orders]", f'[topics.orders]\nexisting = "{GROUP}/topics/old"')
    made = azure(adopted, namespace="shop-ns")["resource"]["azapi_resource"]
    assert made["billing-subscription"]["parent_id"] == "${azapi_resource.namespace.id}/topics/old"


def test_azure_s_location_is_a_variable_where_the_stack_does_not_say_it() -> None:
    found = azure(SHOP)
    assert found["variable"]["location"]["type"] == "string"
    assert found["resource"]["azapi_resource"]["namespace"]["location"] == "${var.location}"
    said = azure(SHOP, location="westeurope")
    assert "variable" not in said
    assert said["resource"]["azapi_resource"]["namespace"]["location"] == "westeurope"


def test_azure_s_role_is_named_with_the_subscription_as_azure_gives_it_back() -> None:
    from polybus.clouds.azure.plan.namespace import Principal

    text = f'{SHOP}[services.till]\nconsumes = ["billing"]\n'
    for subscription, before in (
        (None, "/subscriptions/${data.azapi_client_config.current.subscription_id}"),
        ("1", "/subscriptions/1"),
    ):
        made = azure(
            text, principals={"till": Principal("00000000-0000-0000-0000-000000000001")}, subscription_id=subscription
        )["resource"]
        [right] = [one for one in made["azapi_resource"].values() if "roleAssignments" in one["type"]]
        assert right["parent_id"] == "${azapi_resource.billing-subscription.id}"
        role = right["body"]["properties"]["roleDefinitionId"]
        assert role.startswith(f"{before}/providers/Microsoft.Authorization/roleDefinitions/")


def test_another_cloud_of_microsoft_s_or_google_s_is_the_provider_s_too() -> None:
    assert azure(SHOP, environment="usgovernment")["provider"] == {"azapi": {"environment": "usgovernment"}}
    topology = loads(SHOP, source="polybus.toml")
    elsewhere = planning_of("gcp").settings(project="p", project_number="1", universe_domain="apis-berlin-build0.goog")
    found = exported("gcp", Stack(topology, elsewhere)).document
    assert found["provider"]["google"] == {"project": "p", "universe_domain": "apis-berlin-build0.goog"}


def test_what_azure_does_not_change_replaces_the_resource() -> None:
    made = azure(SHOP)["resource"]["azapi_resource"]
    assert made["billing-subscription"]["replace_triggers_refs"] == ["properties.requiresSession"]
    assert made["namespace"]["replace_triggers_refs"] == ["sku.tier"]


# -- AWS's own ---------------------------------------------------------------------------------------------------------


def test_the_region_of_a_queue_is_found_by_every_version() -> None:
    topology = loads(f"{SHOP}[alarms]\n", source="polybus.toml")
    found = exported("aws", Stack(topology, aws.AwsSettings())).document
    assert found["provider"] == {"aws": {}}
    [dashboard] = found["resource"]["aws_cloudwatch_dashboard"].values()
    assert '"region" = data.aws_region.region.id' in dashboard["dashboard_body"]
