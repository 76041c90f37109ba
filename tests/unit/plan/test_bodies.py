"""Large bodies in plans: what is declared, where they are, whose rights reach them, how long they stay."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polybus.binding import Binding
from polybus.clouds.aws.plan import resources as aws
from polybus.clouds.azure.plan import resources as azure
from polybus.clouds.azure.plan.namespace import CustomerKey
from polybus.clouds.gcp.plan import resources as gcp
from polybus.embedded.plan import local_binding, rows
from polybus.errors import ConfigError, TopologyError, UnsupportedFeature
from polybus.plan import bodies
from polybus.plan.check import check
from polybus.plan.diff import Action, diff, lossy
from polybus.plan.names import host_name
from polybus.plan.simple import Simple
from polybus.plan.values import Join, Json, Ref, Resource
from polybus.topology.file import loads
from polybus.topology.model import LargeBodies, Topology, digest

from .everything import BUSES, STACKS
from .shop import ONE, OTHER, SHOP, SUBNET, by_name

DECLARED = 'large_bodies = { over = "150KiB" }\n'
KEY = "arn:aws:kms:eu-west-1:111122223333:key/k"


def shop(more: str = "", bodies: str = DECLARED) -> Topology:
    return loads(bodies + SHOP + more, source="polybus.toml")


# -- The declaration ---------------------------------------------------------------------------------------------------


def test_it_is_declared_for_the_whole_bus() -> None:
    assert shop().large_bodies == LargeBodies(150 * 1_024)
    assert shop(bodies="large_bodies = {}\n").large_bodies == LargeBodies(200 * 1_024)
    assert shop(bodies="").large_bodies is None


def test_a_bus_without_them_keeps_its_digest() -> None:
    """Else every binding that is deployed would be of another topology."""
    assert digest(shop(bodies="")) == "39524ab49f27d820"
    assert digest(shop()) != digest(shop(bodies="")) != digest(shop(bodies="large_bodies = {}\n"))


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("large_bodies = true", r"polybus.toml: at \$.large_bodies: found true; allowed: a table"),
        ('large_bodies = { over = "much" }', r'at \$.large_bodies.over: found "much"; allowed: a size such as'),
        ('large_bodies = { over = "1B" }', r"at \$.large_bodies.over: found \"1B\"; .* from 1KiB to 100MiB"),
        ('large_bodies = { above = "1MB" }', r"at \$.large_bodies.above: found unknown key above .*; allowed: over"),
    ],
)
def test_a_mistake_is_told_with_its_place(said: str, told: str) -> None:
    with pytest.raises(TopologyError, match=told):
        shop(bodies=f"{said}\n")


def test_what_stays_in_a_message_has_to_fit_into_it() -> None:
    declared = shop(bodies='large_bodies = { over = "255KiB" }\n')
    [found] = [one for one in check(declared, "aws") if one.path == "$.large_bodies.over"]
    assert str(found) == (
        "at $.large_bodies.over: aws: found 255KiB; $.topics.news has messages of up to 256KiB, 2KiB of them for its "
        'dead letter; instead: at most "254KiB"'
    )
    with pytest.raises(UnsupportedFeature, match="255KiB"):
        aws.plan(declared)


def test_who_gets_a_reference_is_told() -> None:
    more = (
        '[queues.old]\nconsumers = "foreign"\n'
        '[subscriptions.mail]\ntopic = "news"\npush = { email = "ops@example.com" }\n'
        '[subscriptions.call]\ntopic = "news"\npush = { function = "caller" }\n'
        '[subscriptions.own]\ntopic = "news"\npush = { function = "worker" }\n'
    )
    found = {one.path: one.limit for one in check(shop(more), "aws") if "a reference in place" in one.limit}
    assert found.keys() == {"$.queues.old", "$.subscriptions.mail", "$.subscriptions.call"}
    assert "no service has the function's name" in found["$.subscriptions.call"]


def test_a_cloud_whose_plans_have_no_place_for_them_says_so() -> None:
    made = Simple(
        backend="acme",
        resource_type="acme:thing:Thing",
        settings=type(aws.AwsSettings()),
        address=lambda topology, settings, name, dead="": name,
        resource=lambda settings, binding, entity: {},
    )
    told = r"at \$.large_bodies: acme: found large_bodies; its plan has no place for them; instead: polybus.blobs.Blobs"
    with pytest.raises(UnsupportedFeature, match=told):
        made.plan(shop())
    assert made.planning().bodies is False


# -- Names -------------------------------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(BUSES, STACKS), min_size=2, max_size=2, unique=True))
def test_no_two_buses_or_stacks_share_a_bucket(two: list[tuple[str, str]]) -> None:
    one, other = (host_name(bus, stack, bodies.KIND, longest=33) for bus, stack in two)
    assert one != other
    assert len(one) <= 33


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("a_b", "c"), ("a", "b_c")),
        (("a-b", "c"), ("a", "b-c")),
        (("Shop", ""), ("shop", "")),
        (("a_b", ""), ("a-b", "")),
    ],
)
def test_what_is_alike_in_a_host_s_name_is_told_apart(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert host_name(*one, bodies.KIND, longest=33) != host_name(*other, bodies.KIND, longest=33)


def test_a_bucket_s_name_is_the_account_s_and_the_region_s() -> None:
    made = by_name(aws.plan(shop(), aws.AwsSettings(stack="dev", region="eu-west-1")))
    name = made["bus.bodies-bucket"].properties["bucket"]
    assert name == Join(("shop-dev-bodies", "-", Ref("account", "account_id"), "-", "eu-west-1"))


def test_a_name_that_s3_keeps_for_itself_is_refused() -> None:
    said = (DECLARED + SHOP).replace('name = "shop"', 'name = "sthree-a"')
    found = [str(one) for one in check(loads(said, source="polybus.toml"), "aws") if one.path == "$.bus"]
    assert found
    assert "not beginning with xn--, sthree- or amzn-s3-demo-" in found[0]


# -- How long they stay ------------------------------------------------------------------------------------------------


def test_they_outlive_two_lives_of_the_longest_message() -> None:
    """The defaults are 7 days and 14 as a dead letter, and the same once more after a redrive."""
    assert bodies.days(shop()) == 2 * (7 + 14) + 1
    longer = '[queues.slow]\nretention = "10d"\ndead_letter_retention = "12d12h"\nmax_delay = "1h"\n'
    assert bodies.days(shop(longer)) == 46 + 1


def test_what_is_forwarded_begins_anew() -> None:
    more = '[subscriptions.on]\ntopic = "news"\npush = { forward = "jobs" }\n'
    assert bodies.days(shop(more)) == 2 * 2 * (7 + 14) + 1


def test_a_bus_with_nothing_to_consume_has_an_age_too() -> None:
    assert bodies.days(loads(f'{DECLARED}[bus]\nname = "shop"\n', source="polybus.toml")) == 1


# -- The plan on AWS ---------------------------------------------------------------------------------------------------


def plan(**chosen: Any) -> dict[str, Resource]:
    return by_name(aws.plan(shop(), aws.AwsSettings(stack="dev", region="eu-west-1", **chosen)))


def test_nothing_is_planned_where_nothing_is_declared() -> None:
    made = aws.plan(shop(bodies=""), aws.AwsSettings(stack="dev", region="eu-west-1", kms_key=KEY))
    assert not [item for item in made.resources if "s3" in item.type or "bodies" in item.name]
    assert "s3" not in str(made.policies)
    assert "bodies" not in aws.exports(made)
    assert Binding.from_json('{"backend": "aws", "bus": "shop"}').bodies is None


def test_the_bucket_is_private_encrypted_and_for_tls_alone() -> None:
    made = plan()
    bucket = Ref("bus.bodies-bucket", "bucket")
    assert made["bus.bodies-bucket"].keeps_messages
    assert made["bus.bodies-bucket"].properties["tags"] == {"polybus-bus": "shop", "polybus-stack": "dev"}
    assert "force_destroy" not in made["bus.bodies-bucket"].properties
    private = made["bus.bodies-private"].properties
    assert dict(private) == {
        "bucket": bucket,
        "block_public_acls": True,
        "block_public_policy": True,
        "ignore_public_acls": True,
        "restrict_public_buckets": True,
    }
    assert made["bus.bodies-encryption"].properties["rules"] == [
        {"apply_server_side_encryption_by_default": {"sse_algorithm": "AES256"}}
    ]
    [deny] = made["bus.bodies-access"].properties["policy"].value["Statement"]
    arn = Ref(bucket.resource, "arn")
    assert (deny["Effect"], deny["Principal"], deny["Action"]) == ("Deny", "*", "s3:*")
    assert deny["Resource"] == [arn, Join((arn, "/*"))]
    [rule] = made["bus.bodies-expiry"].properties["rules"]
    assert rule["filter"] == {"prefix": "polybus/shop/"}
    assert rule["expiration"] == {"days": 43}
    assert rule["abort_incomplete_multipart_upload"] == {"days_after_initiation": 1}


def test_a_key_of_the_stack_s_encrypts_them_too() -> None:
    made = plan(kms_key=KEY)
    [rule] = made["bus.bodies-encryption"].properties["rules"]
    by_default = {"sse_algorithm": "aws:kms", "kms_master_key_id": KEY}
    assert rule == {"apply_server_side_encryption_by_default": by_default, "bucket_key_enabled": True}


def test_who_has_to_come_through_an_endpoint_has_to_for_bodies() -> None:
    [_, outside] = plan(vpc_endpoints=("vpce-1",))["bus.bodies-access"].properties["policy"].value["Statement"]
    assert outside["Action"] == ["s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"]
    assert outside["Condition"]["StringNotEquals"] == {"aws:SourceVpce": ["vpce-1"]}


def rights(service: str, more: str = "", **chosen: Any) -> set[tuple[str, str]]:
    made = aws.plan(shop(more), aws.AwsSettings(stack="dev", region="eu-west-1", **chosen))
    return {
        (action, "".join(map(str, target.parts)))
        for statement in made.policies[service]["Statement"]
        for action in statement["Action"]
        for target in statement["Resource"]
        if action.startswith("s3:")
    }


def test_publishers_store_consumers_fetch_and_operators_do_neither() -> None:
    inside = "${bus.bodies-bucket.arn}/polybus/shop/*"
    assert rights("shop") == {("s3:PutObject", inside), ("s3:AbortMultipartUpload", inside)}
    assert rights("worker") == {("s3:GetObject", inside)}
    assert rights("keeper") == set()
    call = '[subscriptions.call]\ntopic = "news"\npush = { function = "keeper" }\n'
    functions = {"keeper": "arn:aws:lambda:eu-west-1:111122223333:function:f"}
    assert rights("keeper", call, functions=functions) == {("s3:GetObject", inside)}


@pytest.mark.parametrize(("service", "through"), [("shop", True), ("worker", True), ("keeper", False)])
def test_the_key_is_used_by_way_of_s3_by_who_reaches_bodies(service: str, through: bool) -> None:
    made = aws.plan(shop(), aws.AwsSettings(stack="dev", region="eu-west-1", kms_key=KEY))
    [use] = [one for one in made.policies[service]["Statement"] if one["Sid"] == "UseKey"]
    via = use["Condition"]["StringEquals"]["kms:ViaService"]
    assert ("s3.eu-west-1.amazonaws.com" in via) is through


def test_a_binding_says_where_they_are_and_what_stays() -> None:
    made = aws.plan(shop(), aws.AwsSettings(stack="dev", region="eu-west-1"))
    assert aws.binding_values(made)["bodies"] == {
        "url": Join(("s3://", Ref("bus.bodies-bucket", "bucket"))),
        "options": {"region": "eu-west-1"},
        "over": 153_600,
    }
    assert aws.exports(made)["bodies"]["name"] == Ref("bus.bodies-bucket", "bucket")


def changes(old: Topology, new: Topology) -> list[Any]:
    chosen = aws.AwsSettings(stack="dev", region="eu-west-1")
    return diff(aws.plan(old, chosen).resources, aws.plan(new, chosen).resources)


def test_to_declare_them_no_more_loses_the_bodies() -> None:
    [bucket] = [one for one in changes(shop(), shop(bodies="")) if one.kind == bodies.KIND]
    assert (bucket.action, bucket.loses) == (Action.DELETE, "the bodies of messages that refer to it")
    assert not lossy(changes(shop(bodies=""), shop()))


def test_a_shorter_age_is_told_as_a_loss() -> None:
    longer = shop('[queues.slow]\nretention = "14d"\n')
    [expiry] = [one for one in lossy(changes(longer, shop())) if one.kind == bodies.EXPIRY]
    assert expiry.loses == "large bodies older than 43 days, whose messages may be there still"
    assert not [one for one in lossy(changes(shop(), longer)) if one.kind == bodies.EXPIRY]


def test_a_policy_that_is_not_known_yet_says_nothing_of_its_length() -> None:
    assert isinstance(plan(roles={"worker": "role"})["worker-rights"].properties["policy"], Json)


# -- The plan on Google ------------------------------------------------------------------------------------------------


def on_google(more: str = "", **chosen: Any) -> dict[str, Resource]:
    return by_name(
        gcp.plan(
            shop(more), gcp.GcpSettings(**{"stack": "dev", "project": "p", "regions": ("europe-west1",), **chosen})
        )
    )


def test_google_s_bucket_is_private_and_where_messages_are() -> None:
    made = on_google()["bus.bodies-bucket"]
    assert made.keeps_messages
    assert made.properties["name"] == Join(("shop-dev-bodies-", Ref("project", "number")))
    assert made.properties["location"] == "europe-west1"
    assert made.properties["public_access_prevention"] == "enforced"
    assert made.properties["uniform_bucket_level_access"] is True
    assert made.properties["labels"] == {"polybus-bus": "shop", "polybus-stack": "dev"}
    assert "encryption" not in made.properties
    assert "force_destroy" not in made.properties
    delete, abort = made.properties["lifecycle_rules"]
    assert delete == {"action": {"type": "Delete"}, "condition": {"age": 43, "matches_prefixes": ["polybus/shop/"]}}
    assert abort == {"action": {"type": "AbortIncompleteMultipartUpload"}, "condition": {"age": 1}}


def test_google_s_key_is_for_the_account_that_encrypts() -> None:
    key = "projects/p/locations/europe-west1/keyRings/r/cryptoKeys/k"
    made = on_google(kms_key=key)
    assert made["bus.bodies-bucket"].properties["encryption"] == {"default_kms_key_name": key}
    grant = made["bus.bodies-key-agent"]
    assert grant.stays
    assert grant.properties["member"] == Join(("serviceAccount:", Ref("bus.storage-agent", "email_address")))
    assert "bus.bodies-key-agent" in made["bus.bodies-bucket"].after


@pytest.mark.parametrize(
    ("chosen", "told"),
    [
        ({"regions": ()}, "nothing says where the bucket is; set bodiesLocation"),
        ({"kms_key": "projects/p/locations/global/keyRings/r/cryptoKeys/k"}, "kmsKey in global"),
        ({"universe_domain": "s3nsapis.fr"}, "reached at storage.googleapis.com alone"),
    ],
)
def test_what_google_can_not_do_is_told(chosen: Any, told: str) -> None:
    with pytest.raises((ConfigError, UnsupportedFeature), match=told):
        on_google(**chosen)
    gcp.plan(shop(bodies=""), gcp.GcpSettings(**{"project": "p", **chosen}))


def test_a_key_of_europe_is_for_a_bucket_of_the_eu() -> None:
    key = "projects/p/locations/europe/keyRings/r/cryptoKeys/k"
    assert on_google(kms_key=key, bodies_location="EU")["bus.bodies-bucket"].properties["location"] == "EU"


def test_google_s_publishers_create_and_its_consumers_view_what_is_the_bus_s() -> None:
    who = {name: f"serviceAccount:{name}@p.iam.gserviceaccount.com" for name in ("shop", "worker", "keeper")}
    made = [item for item in on_google(members=who).values() if item.type.endswith(":BucketIAMMember")]
    assert {(item.properties["member"], item.properties["role"]) for item in made} == {
        (who["shop"], "roles/storage.objectCreator"),
        (who["worker"], "roles/storage.objectViewer"),
    }
    [expression] = {item.properties["condition"]["expression"] for item in made}
    bucket = Ref("bus.bodies-bucket", "name")
    begins = 'resource.name.startsWith("projects/_/buckets/'
    assert expression == Join((begins, bucket, '/objects/polybus/shop/")'))
    same = dict.fromkeys(who, who["shop"])
    twice = [item for item in on_google(members=same).values() if item.type.endswith(":BucketIAMMember")]
    assert len(twice) == 2, "an identity of two services has each right once"


def test_google_s_binding_says_where_they_are() -> None:
    made = gcp.plan(shop(), gcp.GcpSettings(project="p", regions=("europe-west1",)))
    assert gcp.binding_values(made)["bodies"] == {
        "url": Join(("gs://", Ref("bus.bodies-bucket", "name"))),
        "over": 153_600,
    }
    assert gcp.exports(made)["bodies"] == {"bucket": Ref("bus.bodies-bucket", "name")}


def test_a_shorter_age_on_google_is_told_as_a_loss() -> None:
    chosen = gcp.GcpSettings(project="p", regions=("europe-west1",))
    longer = shop('[queues.slow]\nretention = "14d"\n')
    found = lossy(diff(gcp.plan(longer, chosen).resources, gcp.plan(shop(), chosen).resources))
    assert [one.loses for one in found if one.kind == bodies.KIND] == [
        "large bodies older than 43 days, whose messages may be there still"
    ]


# -- The plan on Azure -------------------------------------------------------------------------------------------------


def on_azure(more: str = "", **chosen: Any) -> dict[str, Resource]:
    return by_name(azure.plan(shop(more), azure.AzureSettings(**{"stack": "dev", "location": "westeurope", **chosen})))


def test_azure_s_account_takes_tokens_alone_over_tls() -> None:
    made = on_azure()
    account = made["bus.bodies-account"]
    assert account.keeps_messages
    assert made["bus.bodies-container"].keeps_messages
    held = {
        "kind": "StorageV2",
        "allow_blob_public_access": False,
        "allow_cross_tenant_replication": False,
        "allow_shared_key_access": False,
        "enable_https_traffic_only": True,
        "minimum_tls_version": "TLS1_2",
        "tags": {"polybus-bus": "shop", "polybus-stack": "dev"},
    }
    assert {name: account.properties[name] for name in held} == held
    assert "encryption" not in account.properties
    assert made["bus.bodies-container"].properties["public_access"] == "None"
    [rule] = made["bus.bodies-expiry"].properties["policy"]["rules"]
    assert rule["definition"] == {
        "actions": {"base_blob": {"delete": {"days_after_modification_greater_than": 43}}},
        "filters": {"blob_types": ["blockBlob"], "prefix_match": ["bodies/polybus/shop/"]},
    }


def test_azure_s_key_encrypts_them_too() -> None:
    identity = "/subscriptions/s/resourceGroups/r/providers/Microsoft.ManagedIdentity/userAssignedIdentities/i"
    key = CustomerKey("https://v.vault.azure.net", "key", identity)
    account = on_azure(sku="Premium", customer_key=key)["bus.bodies-account"].properties
    assert account["identity"] == {"type": "UserAssigned", "user_assigned_identities": [identity]}
    assert account["encryption"] == {
        "key_source": "Microsoft.Keyvault",
        "key_vault_properties": {"key_name": "key", "key_vault_uri": "https://v.vault.azure.net"},
        "encryption_identity": {"encryption_user_assigned_identity": identity},
    }


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(BUSES, STACKS), min_size=2, max_size=2, unique=True))
def test_no_two_buses_or_stacks_share_an_account(two: list[tuple[str, str]]) -> None:
    """Not even where they are given one namespace."""
    names = [
        by_name(
            azure.plan(
                loads(f'{DECLARED}[bus]\nname = "{bus}"\n', source="x"),
                azure.AzureSettings(stack=stack, namespace="the-namespace"),
            )
        )["bus.bodies-account"].properties["account_name"]
        for bus, stack in two
    ]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("chosen", [{"public_access": False}, {"subnet": SUBNET}])
def test_an_account_that_would_be_open_where_the_namespace_is_not_is_refused(chosen: Any) -> None:
    with pytest.raises(UnsupportedFeature, match="their account would be open where the namespace isn't"):
        on_azure(sku="Premium", **chosen)
    assert azure.plan(shop(bodies=""), azure.AzureSettings(location="westeurope", sku="Premium", **chosen))


def assigned(**chosen: Any) -> dict[str, list[tuple[str, Any]]]:
    """Give by principal the roles on bodies, and their conditions."""
    found: dict[str, list[tuple[str, Any]]] = {}
    call = '[subscriptions.call]\ntopic = "news"\npush = { function = "mailer" }\n'
    for item in on_azure(call, functions={"mailer": azure.Principal(OTHER)}, **chosen).values():
        if item.properties.get("scope") == Ref("bus.bodies-container", "id"):
            role = item.properties["role_definition_id"].rpartition("/")[2]
            assert item.properties["condition_version"] == "2.0"
            found.setdefault(item.properties["principal_id"], []).append((role, item.properties["condition"]))
    return found


def test_azure_s_publishers_store_and_its_consumers_and_functions_fetch() -> None:
    third = "00000000-0000-0000-0000-000000000003"
    who = {"shop": azure.Principal(ONE), "worker": azure.Principal(third), "keeper": azure.Principal(third[:-1] + "4")}
    found = assigned(principals=who)
    putter, getter = "ba92f5b4-2d11-453d-a403-e96b0029c9fe", "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1"
    assert {id_: [role for role, _ in given_] for id_, given_ in found.items()} == {
        ONE: [putter],
        third: [getter],
        OTHER: [getter],
    }
    [(_, stores)], [(_, fetches)] = found[ONE], found[third]
    assert "StringStartsWith 'polybus/shop/'" in stores
    assert "StringStartsWith 'polybus/shop/'" in fetches
    for action in ("read", "delete", "move/action"):
        assert f"blobs/{action}'}}" in stores
    assert stores.count("(") == stores.count(")")
    assert fetches.count("(") == fetches.count(")")
    one = assigned(principals=dict.fromkeys(who, azure.Principal(ONE)))[ONE]
    assert [role for role, _ in one] == [putter, getter], "an identity of several services has each right once"


@pytest.mark.parametrize(
    ("environment", "domain"), [(None, None), ("usgovernment", "usgovcloudapi.net"), ("china", "chinacloudapi.cn")]
)
def test_azure_s_binding_says_where_they_are(environment: str | None, domain: str | None) -> None:
    made = azure.plan(shop(), azure.AzureSettings(location="westeurope", environment=environment))
    account = Ref("bus.bodies-account", "name")
    found = azure.binding_values(made)["bodies"]
    assert (found["url"], found["over"], found["options"]["account_name"]) == ("az://bodies", 153_600, account)
    endpoint = None if domain is None else Join(("https://", account, f".blob.core.{domain}"))
    assert found["options"].get("endpoint") == endpoint
    assert azure.exports(made)["bodies"]["container"] == "bodies"


def test_a_shorter_age_on_azure_is_told_as_a_loss() -> None:
    chosen = azure.AzureSettings(location="westeurope")
    longer = shop('[queues.slow]\nretention = "14d"\n')
    found = lossy(diff(azure.plan(longer, chosen).resources, azure.plan(shop(), chosen).resources))
    assert "large bodies older than 43 days, whose messages may be there still" in [one.loses for one in found]


def test_that_azure_s_dead_letters_may_outlive_their_bodies_is_told() -> None:
    [found] = [one for one in check(shop(), "azure") if one.path == bodies.ENTRY]
    assert "deleted after 43 days, and Service Bus keeps dead letters for longer" in found.limit


# -- The embedded store ------------------------------------------------------------------------------------------------


def test_the_embedded_store_has_them_beside_it(tmp_path: Any) -> None:
    for binding in (local_binding(shop(), backend="memory"), local_binding(shop(), path=tmp_path / "bus.db")):
        assert binding.bodies is not None
        assert (binding.bodies.url, binding.bodies.over) == ("", 153_600)
    assert [row.kind for row in rows(shop())].count(bodies.KIND) == 1
    assert local_binding(shop(bodies=""), backend="memory").bodies is None


def test_a_stand_in_without_a_store_is_led_to_a_folder(tmp_path: Any) -> None:
    whole = local_binding(shop(), backend="memory")
    led = bodies.in_folder(whole, tmp_path / "with space")
    assert led.bodies is not None
    assert led.bodies.url == f"file://{tmp_path}/with%20space"
    assert led.bodies.over == 153_600
    plain = local_binding(shop(bodies=""), backend="memory")
    assert bodies.in_folder(plain, tmp_path) is plain
