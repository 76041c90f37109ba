"""What each cloud's plan of one topology holds, in particular: rights, adoption, keys, names."""

from __future__ import annotations

import re
import uuid
from typing import Any

import pytest

from polybus.clouds.aws.plan import resources as aws
from polybus.clouds.azure.plan import resources as azure
from polybus.clouds.gcp.plan import resources as gcp
from polybus.errors import ConfigError, UnsupportedFeature
from polybus.plan.values import Join, Json, Ref
from polybus.topology.file import loads

from .shop import ALARMS, SUBNET, allowed, by_name, topology


def test_aws_gives_each_service_exactly_what_it_declared() -> None:
    policies = aws.plan(topology()).policies
    assert allowed(policies["shop"]) == {
        ("sns:Publish", "${orders-topic.arn}"),
        ("sqs:SendMessage", "${jobs-queue.arn}"),
    }
    receive = ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility")
    consume = (*receive, "sqs:GetQueueAttributes")  # as in AWSLambdaSQSQueueExecutionRole
    assert allowed(policies["worker"]) == {
        *((action, f"${{{name}-queue.arn}}") for action in consume for name in ("billing", "jobs")),
        *(("sqs:SendMessage", f"${{{name}-dead-letters.arn}}") for name in ("billing", "jobs")),
    }
    letters = (*receive, "sqs:GetQueueAttributes", "sqs:PurgeQueue")
    assert allowed(policies["keeper"]) == {
        *((action, f"${{{name}-dead-letters.arn}}") for action in letters for name in ("billing", "jobs")),
        *(
            (action, f"${{{name}-queue.arn}}")
            for action in ("sqs:SendMessage", "sqs:GetQueueAttributes")
            for name in ("billing", "jobs")
        ),
    }


@pytest.mark.parametrize("service", ["both", "keeper"])
def test_aws_lets_purge_what_waits_who_consumes_and_operates_it(service: str) -> None:
    declared = topology('[services.both]\nconsumes = ["jobs"]\noperates = ["jobs", "billing"]\n')
    purges = {target for action, target in allowed(aws.plan(declared).policies[service]) if action == "sqs:PurgeQueue"}
    letters = {"${jobs-dead-letters.arn}", "${billing-dead-letters.arn}"}
    assert purges == letters | ({"${jobs-queue.arn}"} if service == "both" else set())


def test_aws_attaches_policies_where_a_role_is_given() -> None:
    found = by_name(aws.plan(topology(), aws.AwsSettings(stack="dev", roles={"worker": "arn:aws:iam::1:role/path/w"})))
    assert found["worker-rights"].properties["name"] == Join(("shop-dev-worker-", Ref("region", "region")))
    assert found["worker-role"].properties == {"role": "w", "policy_arn": Ref("worker-rights", "arn")}
    assert "shop-rights" not in found


def test_aws_lets_only_its_topic_send_to_a_subscription() -> None:
    found = by_name(aws.plan(topology()))
    allow, deny = found["billing-queue-access"].properties["policy"].value["Statement"]
    assert allow == {
        "Sid": "AllowTopic",
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": Ref("billing-queue", "arn"),
        "Condition": {"ArnEquals": {"aws:SourceArn": Ref("orders-topic", "arn")}},
    }
    assert deny["Effect"] == "Deny"
    undelivered, _ = found["billing-dead-letters-access"].properties["policy"].value["Statement"]
    assert undelivered == {**allow, "Resource": Ref("billing-dead-letters", "arn")}
    assert [item["Effect"] for item in found["jobs-queue-access"].properties["policy"].value["Statement"]] == ["Deny"]


def test_aws_subscribes_raw_with_the_filter_once_the_queue_lets_it_in() -> None:
    resource = by_name(aws.plan(topology()))["billing-subscription"]
    assert resource.properties == {
        "topic": Ref("orders-topic", "arn"),
        "protocol": "sqs",
        "endpoint": Ref("billing-queue", "arn"),
        "raw_message_delivery": True,
        "filter_policy": Json({"region": ["eu", "uk"], "test": [{"exists": False}]}),
        "filter_policy_scope": "MessageAttributes",
        "redrive_policy": Json({"deadLetterTargetArn": Ref("billing-dead-letters", "arn")}),
    }
    assert resource.after == ("billing-queue-access", "billing-dead-letters-access")


def test_aws_queues_are_fifo_where_ordered_and_only_there() -> None:
    found = by_name(aws.plan(topology(), aws.AwsSettings(stack="dev")))
    assert found["orders-topic"].properties["name"] == "shop-dev-orders.fifo"
    assert found["billing-queue"].properties["name"] == "shop-dev-billing.fifo"
    assert found["billing-dead-letters"].properties["name"] == "shop-dev-billing-dead-letters.fifo"
    assert found["fast-queue"].properties["name"] == "shop-dev-fast"
    assert found["billing-queue"].properties["visibility_timeout_seconds"] == 90
    redrive = found["jobs-redrive"].properties["redrive_policy"].value
    assert redrive == {"deadLetterTargetArn": Ref("jobs-dead-letters", "arn"), "maxReceiveCount": 23}
    allow = found["jobs-redrive-allow"].properties["redrive_allow_policy"].value
    assert allow == {"redrivePermission": "byQueue", "sourceQueueArns": [Ref("jobs-queue", "arn")]}


def test_aws_uses_a_customer_managed_key_everywhere_and_gives_the_right_to_it() -> None:
    key = "arn:aws:kms:eu-west-1:1:key/k"
    plan = aws.plan(topology(), aws.AwsSettings(kms_key=key))
    for resource in plan.resources:
        if resource.kind in ("topic", "subscription", "queue", "dead letters"):
            assert resource.properties["kms_master_key_id"] == key
            assert "sqs_managed_sse_enabled" not in resource.properties
    for document in plan.policies.values():
        assert {("kms:Decrypt", key), ("kms:GenerateDataKey", key)} <= allowed(document)
        [use] = [statement for statement in document["Statement"] if statement["Sid"] == "UseKey"]
        via = ["sns.eu-west-1.amazonaws.com", "sqs.eu-west-1.amazonaws.com"]
        assert use["Condition"] == {"StringEquals": {"kms:ViaService": via}}


def test_aws_says_what_the_policy_of_a_key_has_to_allow() -> None:
    key = "arn:aws:kms:eu-west-1:12:key/k"
    plan = aws.plan(topology(ALARMS), aws.AwsSettings(kms_key=key))
    sns, cloudwatch = aws.exports(plan)["keyPolicy"].value["Statement"]
    for statement, service in ((sns, "sns"), (cloudwatch, "cloudwatch")):
        assert statement["Principal"] == {"Service": f"{service}.amazonaws.com"}
        assert statement["Action"] == ["kms:Decrypt", "kms:GenerateDataKey"]
        assert statement["Resource"] == key
    assert sns["Condition"] == {"StringEquals": {"aws:SourceAccount": Ref("orders-topic", "owner")}}
    assert cloudwatch["Condition"] == {"StringEquals": {"aws:SourceAccount": Ref("bus.alarms-topic", "owner")}}
    assert "keyPolicy" not in aws.exports(aws.plan(topology(ALARMS)))


def test_the_policy_of_a_key_is_the_same_whatever_topics_there_are() -> None:
    settings = aws.AwsSettings(kms_key="arn:aws:kms:eu-west-1:12:key/k")

    def statements(more: str) -> list[object]:
        found: list[object] = aws.exports(aws.plan(topology(more), settings))["keyPolicy"].value["Statement"]
        return found

    assert statements("") == statements('[topics.later]\n[subscriptions.late]\ntopic = "later"\n')
    alone = loads('[bus]\nname = "shop"\n[queues.jobs]\n', source="polybus.toml")
    [sns] = aws.exports(aws.plan(alone, settings))["keyPolicy"].value["Statement"]
    assert sns["Condition"] == {"StringEquals": {"aws:SourceAccount": "12"}}
    adopted = '[topics.theirs]\nexisting = "arn:aws:sns:eu-west-1:34:theirs"\n'
    [sns] = aws.exports(aws.plan(topology(adopted), settings))["keyPolicy"].value["Statement"]
    assert sns["Condition"] == {"StringEquals": {"aws:SourceAccount": [Ref("orders-topic", "owner"), "34"]}}


@pytest.mark.parametrize(
    ("role", "words"),
    [
        (
            "arn:aws:iam::12:user/worker",
            "found 'arn:aws:iam::12:user/worker'; allowed: a role's name, or arn:aws:iam::",
        ),
        ("arn:aws:sts::12:assumed-role/worker/session", "and no session of a role"),
        ("team/worker", "allowed: a role's name"),
        ("arn:aws:iam::34:role/worker", "roles.worker: found one of account 34; aws roles.keeper is in 12"),
    ],
)
def test_aws_refuses_what_is_no_role_of_the_account(role: str, words: str) -> None:
    roles = {"keeper": "arn:aws:iam::12:role/keeper", "worker": role}
    with pytest.raises(ConfigError, match=re.escape(words)):
        aws.plan(topology(), aws.AwsSettings(roles=roles))


def test_aws_refuses_an_adopted_queue_of_another_account() -> None:
    adopted = topology('[queues.old]\nexisting = "arn:aws:sqs:eu-west-1:34:old"\n')
    with pytest.raises(ConfigError, match=r"queues\.old\.existing: aws: found one of account 34; .* is in 12"):
        aws.plan(adopted, aws.AwsSettings(roles={"worker": "arn:aws:iam::12:role/w"}))


def test_aws_refuses_more_services_than_one_role_has_policies() -> None:
    more = "".join(f'[services.s{at}]\nconsumes = ["jobs"]\n' for at in range(11))
    roles = {f"s{at}": "arn:aws:iam::12:role/path/app" if at else "app" for at in range(11)}
    with pytest.raises(ConfigError, match=r"found 11 services that run as app: s0, .*; IAM attaches 10"):
        aws.plan(topology(more), aws.AwsSettings(roles=roles))
    aws.plan(topology(more), aws.AwsSettings(roles={name: f"app-{name}" for name in roles}))


@pytest.mark.parametrize("region", ["eu-west-1", None])
@pytest.mark.parametrize(
    ("key", "more", "words"),
    [
        ("arn:aws:kms:us-east-1:1:key/k", "", "aws kmsKey: found a resource of us-east-1; the stack is in eu-west-1"),
        (
            None,
            '[alarms]\nnotify = { topic = "arn:aws:sns:us-east-1:1:ops" }\n',
            "polybus.toml: at $.alarms.notify.topic: aws: found a resource of us-east-1; the stack is in eu-west-1",
        ),
    ],
)
def test_aws_refuses_what_has_to_be_in_the_stack_s_region(
    region: str | None, key: str | None, more: str, words: str
) -> None:
    adopted = '[topics.old]\nexisting = "arn:aws:sns:eu-west-1:1:old"\n'
    with pytest.raises(ConfigError, match=re.escape(words)):
        aws.plan(topology(adopted + more), aws.AwsSettings(region=region, kms_key=key))


@pytest.mark.parametrize("key", ["alias/shop", "arn:aws:kms:eu-west-1:12:alias/shop", "11111111-2222"])
def test_aws_refuses_a_key_on_which_no_right_could_be_given(key: str) -> None:
    with pytest.raises(ConfigError, match=r"aws kmsKey: found '.*'; allowed: a key's ARN"):
        aws.plan(topology(), aws.AwsSettings(kms_key=key))


def test_aws_adopts_what_exists_and_still_plans_around_it() -> None:
    queue, topic = "arn:aws:sqs:eu-west-1:1:old", "arn:aws:sns:eu-west-1:1:old"
    plan = aws.plan(
        topology(
            f'[topics.old]\nexisting = "{topic}"\n[subscriptions.s]\ntopic = "old"\n[queues.q]\nexisting = "{queue}"\n'
        )
    )
    found = by_name(plan)
    assert "old-topic" not in found
    assert "q-queue" not in found
    assert found["s-subscription"].properties["topic"] == topic
    assert found["q-redrive"].properties["queue_url"] == "https://sqs.eu-west-1.amazonaws.com/1/old"
    assert aws.binding_values(plan)["queues"]["q"]["address"] == "https://sqs.eu-west-1.amazonaws.com/1/old"
    assert aws.binding_values(plan)["topics"]["old"]["address"] == topic


def test_gcp_lets_pubsub_use_a_key_before_it_makes_a_topic_with_it() -> None:
    key = "projects/p/locations/europe/keyRings/r/cryptoKeys/k"
    plan = gcp.plan(topology(), gcp.GcpSettings(project="p", project_number="42", kms_key=key))
    found = by_name(plan)
    grant = found["bus.key-agent"].properties
    assert (grant["crypto_key_id"], grant["role"]) == (key, "roles/cloudkms.cryptoKeyEncrypterDecrypter")
    assert "@gcp-sa-pubsub." in "".join(str(part) for part in grant["member"].parts)
    topics = [item for item in plan.resources if item.type == "gcp:pubsub/topic:Topic"]
    assert {item.after for item in topics} == {("bus.key-agent",)}
    assert {item.properties["kms_key_name"] for item in topics} == {key}
    assert "bus.key-agent" not in by_name(gcp.plan(topology()))


def test_azure_puts_everything_into_one_closed_namespace() -> None:
    found = by_name(azure.plan(topology(), azure.AzureSettings(stack="dev", location="westeurope")))
    namespace = found["namespace"].properties
    assert namespace["namespace_name"].startswith("shop-dev-")
    assert (namespace["disable_local_auth"], namespace["minimum_tls_version"]) == (True, "1.2")
    assert found["resource-group"].properties["resource_group_name"] == "shop-dev-westeurope"
    billing = found["billing-subscription"].properties
    assert (billing["requires_session"], billing["lock_duration"], billing["max_delivery_count"]) == (
        True,
        "PT1M30S",
        25,
    )
    assert billing["dead_lettering_on_message_expiration"] is False
    assert billing["dead_lettering_on_filter_evaluation_exceptions"] is True
    assert found["fast-subscription"].properties["requires_session"] is False
    assert found["fast-rule"].properties["sql_filter"]["sql_expression"].startswith("NOT EXISTS(polybus_to) OR")
    assert found["jobs-queue"].properties["max_delivery_count"] == 23
    assert "resource-group" not in by_name(azure.plan(topology(), azure.AzureSettings(resource_group="mine")))


def test_azure_gives_roles_on_single_entities() -> None:
    ids = {name: str(uuid.uuid5(uuid.NAMESPACE_URL, name)) for name in ("shop", "worker", "keeper")}
    principals = {name: azure.Principal(each) for name, each in ids.items()}
    plan = azure.plan(topology(), azure.AzureSettings(principals=principals))
    rights = {
        (item.properties["principal_id"], item.properties["role_definition_id"][-36:], str(item.properties["scope"]))
        for item in plan.resources
        if item.kind == "rights"
    }
    sender, receiver = "69a216fc-b8fb-44d8-bc22-1f3c2cd27a39", "4f6d3b9b-027b-4f4c-9142-0e5a2a2247e0"
    assert rights == {
        (ids["shop"], sender, "${orders-topic.id}"),
        (ids["shop"], sender, "${jobs-queue.id}"),
        (ids["worker"], receiver, "${billing-subscription.id}"),
        (ids["worker"], receiver, "${jobs-queue.id}"),
        (ids["keeper"], receiver, "${billing-subscription.id}"),
        (ids["keeper"], sender, "${orders-topic.id}"),
        (ids["keeper"], receiver, "${jobs-queue.id}"),
        (ids["keeper"], sender, "${jobs-queue.id}"),
    }
    names = [item.properties["role_assignment_name"] for item in plan.resources if item.kind == "rights"]
    assert len(set(names)) == len(names)


def test_azure_needs_premium_for_what_only_premium_has() -> None:
    big = topology('[queues.big]\nmax_message_size = "5MiB"\n')
    with pytest.raises(UnsupportedFeature, match=r'\$.queues.big.max_message_size.*sku = "Premium"'):
        azure.plan(big)
    found = by_name(azure.plan(big, azure.AzureSettings(sku="Premium", subnet=SUBNET)))
    assert found["big-queue"].properties["max_message_size_in_kilobytes"] == 5 * 1024
    assert found["namespace"].properties["public_network_access"] == "Disabled"
    assert found["private-endpoint"].properties["subnet"] == {"id": SUBNET}
    with pytest.raises(UnsupportedFeature, match="Premium"):
        azure.plan(topology(), azure.AzureSettings(subnet=SUBNET))


def test_azure_refuses_a_bad_namespace_and_an_entity_of_another() -> None:
    with pytest.raises(ConfigError, match="azure namespace: found 'x-sb'"):
        azure.plan(topology(), azure.AzureSettings(namespace="x-sb"))
    other = "/subscriptions/s/resourceGroups/g/providers/Microsoft.ServiceBus/namespaces/other/queues/q"
    with pytest.raises(ConfigError, match=r"\$.queues.old.existing.*namespace of the stack"):
        azure.plan(topology(f'[queues.old]\nexisting = "{other}"\n'))
    mine = other.replace("other", "other-bus")
    plan = azure.plan(topology(f'[queues.old]\nexisting = "{mine}"\n'), azure.AzureSettings(namespace="other-bus"))
    assert "old-queue" not in by_name(plan)
    assert azure.binding_values(plan)["queues"]["old"]["address"] == "q"


def test_azure_binding_names_entities_as_the_sdk_does() -> None:
    plan = azure.plan(topology(), azure.AzureSettings(stack="dev"))
    values = azure.binding_values(plan)
    assert values["settings"] == {"namespace": Join((Ref("namespace", "name"), ".servicebus.windows.net"))}
    billing = values["subscriptions"]["billing"]
    assert billing["address"] == Join((Ref("orders-topic", "name"), "/Subscriptions/billing"))
    assert billing["dead_letter"].parts[-1] == "/Subscriptions/billing/$DeadLetterQueue"
    assert values["queues"]["jobs"]["address"] == Ref("jobs-queue", "name")


def test_gcp_gives_members_single_rights_and_the_agent_its_two() -> None:
    members = {name: f"serviceAccount:{name}@p" for name in ("shop", "worker", "keeper")}
    plan = gcp.plan(topology(), gcp.GcpSettings(project="p", members=members))
    rights = {
        (
            item.properties["member"].split(":")[1].split("@")[0],
            item.properties["role"].split(".")[1],
            str(item.properties.get("topic") or item.properties.get("subscription")),
        )
        for item in plan.resources
        if item.kind == "rights"
    }
    assert rights == {
        ("shop", "publisher", "${orders-topic.id}"),
        ("shop", "publisher", "${jobs-topic.id}"),
        ("worker", "subscriber", "${billing-subscription.name}"),
        ("worker", "subscriber", "${jobs-subscription.name}"),
        ("worker", "publisher", "${billing-dead-letters-topic.id}"),
        ("worker", "publisher", "${jobs-dead-letters-topic.id}"),
        ("keeper", "viewer", "${billing-subscription.name}"),
        ("keeper", "viewer", "${jobs-subscription.name}"),
        ("keeper", "viewer", "${billing-dead-letters.name}"),
        ("keeper", "viewer", "${jobs-dead-letters.name}"),
        ("keeper", "subscriber", "${billing-dead-letters.name}"),
        ("keeper", "subscriber", "${jobs-dead-letters.name}"),
        ("keeper", "publisher", "${orders-topic.id}"),
        ("keeper", "publisher", "${jobs-topic.id}"),
    }
    agent = by_name(plan)["billing-agent"].properties["member"]
    assert agent.parts == (
        "serviceAccount:service-",
        Ref("project", "number"),
        "@gcp-sa-pubsub.iam.gserviceaccount.com",
    )
    known = gcp.plan(topology(), gcp.GcpSettings(project="p", project_number="42"))
    assert "project" not in by_name(known)


@pytest.mark.parametrize(
    ("given", "endpoint"),
    [
        ({}, None),
        ({"regions": ("us-east1",)}, "us-east1-pubsub.googleapis.com"),
        ({"regions": ("us-east1", "us-west1")}, None),
        ({"regions": ("us-east1",), "universe_domain": "example.goog"}, "us-east1-pubsub.example.goog"),
        (
            {"regions": ("us-east1", "us-west1"), "endpoint": "us-east1-pubsub.googleapis.com:443"},
            "us-east1-pubsub.googleapis.com:443",
        ),
        ({"regions": ("us-east1",), "endpoint": "pubsub-shop.p.googleapis.com"}, "pubsub-shop.p.googleapis.com"),
    ],
)
def test_gcp_leads_services_to_the_one_region_where_messages_are(given: dict[str, Any], endpoint: str | None) -> None:
    """Pub/Sub keeps the order of a key only where it is published in one region."""
    values = gcp.binding_values(gcp.plan(topology(), gcp.GcpSettings(project="p", **given)))
    assert values["settings"] == {"project": "p"} | ({"api_endpoint": endpoint} if endpoint else {})


def test_gcp_labels_are_made_to_fit() -> None:
    stack = gcp.GcpSettings(labels={"Cost Centre": "R&D / Europe", "x": "y" * 80})
    labels = by_name(gcp.plan(topology(), stack))["orders-topic"].properties["labels"]
    assert labels == {"polybus-bus": "shop", "cost-centre": "r-d---europe", "x": "y" * 63}


def test_gcp_binding_has_both_names_of_a_queue() -> None:
    queue = gcp.binding_values(gcp.plan(topology()))["queues"]["jobs"]
    assert queue["address"] == Ref("jobs-subscription", "id")
    assert queue["options"] == {
        "topic": Ref("jobs-topic", "id"),
        "dead_letter_topic": Ref("jobs-dead-letters-topic", "id"),
    }
