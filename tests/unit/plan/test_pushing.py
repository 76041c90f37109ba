"""What each cloud's plan delivers by itself: to addresses, to functions, and on to other queues and topics."""

from __future__ import annotations

from typing import Any

import pytest

from polybus.clouds.aws.plan import resources as aws
from polybus.clouds.azure.plan import resources as azure
from polybus.clouds.gcp.plan import resources as gcp
from polybus.errors import ConfigError
from polybus.plan.check import check
from polybus.plan.names import subscription_tag
from polybus.plan.values import Ref
from polybus.topology.file import loads

from .shop import by_name, topology


@pytest.mark.parametrize(
    ("push", "protocol", "more"),
    [
        ('{ email = "a@b.c" }', "email", set()),
        ('{ sms = "+447700900123" }', "sms", set()),
        ('{ https = "https://a.b/c", raw = true }', "https", {"raw_message_delivery", "delivery_policy"}),
        ('{ function = "mailer" }', "lambda", set()),
        ('{ function = "arn:aws:lambda:r:1:function:f" }', "lambda", set()),
    ],
)
def test_aws_pushes_and_keeps_what_it_cannot_deliver(push: str, protocol: str, more: set[str]) -> None:
    declared = topology(f'[subscriptions.out]\ntopic = "news"\npush = {push}\n')
    found = by_name(aws.plan(declared, aws.AwsSettings(functions={"mailer": "arn:aws:lambda:r:1:function:mailer"})))
    resource = found["out-subscription"]
    assert resource.properties["protocol"] == protocol
    assert set(resource.properties) - {"topic", "protocol", "endpoint", "redrive_policy"} == more
    assert resource.properties["redrive_policy"].value == {"deadLetterTargetArn": Ref("out-dead-letters", "arn")}
    allow = found["out-dead-letters-access"].properties["policy"].value["Statement"][0]
    assert allow["Condition"] == {"ArnEquals": {"aws:SourceArn": Ref("news-topic", "arn")}}
    assert "out-queue" not in found
    if protocol == "lambda":
        permission = found["out-invoke"].properties
        assert permission["source_arn"] == Ref("news-topic", "arn")
        assert permission["function"] == resource.properties["endpoint"]
        assert str(permission["function"]).startswith("arn:")


@pytest.mark.parametrize(
    "arn", ["mailer", "arn:aws:lambda:eu-west-1:1:layer:mailer", "arn:aws:lambda:eu-west-1:1:f:mailer"]
)
def test_aws_refuses_what_the_stack_config_says_of_a_function_and_is_none(arn: str) -> None:
    declared = topology('[subscriptions.out]\ntopic = "news"\npush = { function = "mailer" }\n')
    with pytest.raises(
        ConfigError, match=rf"aws functions\.mailer: found '{arn}'; allowed: a function's ARN, arn:aws:"
    ):
        aws.plan(declared, aws.AwsSettings(functions={"mailer": arn}))


def test_aws_signs_https_with_sha256_and_permits_one_version_of_a_function() -> None:
    hook = '[subscriptions.hook]\ntopic = "news"\npush = { https = "https://a.b/c" }\n'
    call = '[subscriptions.call]\ntopic = "news"\npush = { function = "arn:aws:lambda:r:1:function:f:live" }\n'
    found = by_name(aws.plan(topology(hook + call)))
    assert found["news-topic"].properties["signature_version"] == 2
    assert "signature_version" not in found["orders-topic"].properties
    permission = found["call-invoke"].properties
    assert (permission["function"], permission["qualifier"]) == ("arn:aws:lambda:r:1:function:f", "live")
    assert found["call-subscription"].properties["endpoint"].endswith(":function:f:live")


FORWARD = """
[subscriptions.on]
topic = "news"
push = { forward = "jobs" }
[topics.later]
"""


def test_aws_forwards_by_subscribing_the_queue() -> None:
    found = by_name(aws.plan(topology(FORWARD)))
    resource = found["on-subscription"]
    assert (resource.properties["protocol"], resource.properties["endpoint"]) == ("sqs", Ref("jobs-queue", "arn"))
    assert resource.properties["raw_message_delivery"] is True
    assert resource.properties["redrive_policy"].value == {"deadLetterTargetArn": Ref("on-dead-letters", "arn")}
    assert set(resource.after) == {"on-dead-letters-access", "jobs-queue-access"}
    allow, _ = found["jobs-queue-access"].properties["policy"].value["Statement"]
    assert allow["Condition"] == {"ArnEquals": {"aws:SourceArn": Ref("news-topic", "arn")}}
    assert "on-queue" not in found


def test_azure_forwards_to_queues_and_topics() -> None:
    chained = '[subscriptions.next]\ntopic = "orders"\npush = { forward = "later" }\n'
    plan = azure.plan(topology(FORWARD + chained))
    found = by_name(plan)
    assert found["on-subscription"].properties["forward_to"] == "shop-jobs"
    assert found["on-subscription"].after == ("jobs-queue",)
    forwarding = found["next-subscription"].properties
    assert forwarding["forward_to"] == "shop-later"
    assert forwarding["requires_session"] is False
    assert found["next-rule"].properties["action"] == {"sql_expression": "REMOVE polybus_to"}
    tag = subscription_tag("shop", "billing")
    assert found["billing-rule"].properties["action"] == {"sql_expression": f"SET polybus_rule='{tag}'"}
    places = [resource.name for resource in plan.resources]
    assert places.index("jobs-queue") < places.index("on-subscription")


@pytest.mark.parametrize(
    ("module", "stack"), [(aws, aws.AwsSettings()), (azure, azure.AzureSettings()), (gcp, gcp.GcpSettings())]
)
def test_a_function_that_the_stack_config_does_not_resolve_is_refused(module: Any, stack: Any) -> None:
    declared = topology('[subscriptions.out]\ntopic = "news"\npush = { function = "mailer" }\n')
    with pytest.raises(ConfigError, match=r"\$.subscriptions.out.push.function.*'mailer'.*configured functions: none"):
        module.plan(declared, stack)


def test_gcp_pushes_with_a_signature_and_the_declared_backoff() -> None:
    declared = topology(
        '[subscriptions.out]\ntopic = "news"\npush = { function = "mailer" }\nmax_attempts = 7\n'
        'backoff = { initial = "500ms", maximum = "1m" }\n'
    )
    stack = gcp.GcpSettings(push_account="push@p", functions={"mailer": "https://mailer.run.app"})
    properties = by_name(gcp.plan(declared, stack))["out-subscription"].properties
    assert properties["push_config"] == {
        "push_endpoint": "https://mailer.run.app",
        "oidc_token": {"service_account_email": "push@p", "audience": "https://mailer.run.app"},
    }
    assert properties["retry_policy"] == {"minimum_backoff": "0.5s", "maximum_backoff": "60s"}
    assert properties["dead_letter_policy"]["max_delivery_attempts"] == 7


def test_gcp_lets_its_pushes_call_the_cloud_run_service_that_an_address_names_once() -> None:
    hook = '[subscriptions.{0}]\ntopic = "news"\npush = {{ {1} }}\n'
    text = (
        hook.format("a", 'function = "mailer"')
        + hook.format("b", 'https = "https://next---mailer-12.europe-west1.run.app/in"')
        + hook.format("c", 'https = "https://mailer-abc-uc.a.run.app"')
    )
    settings = gcp.GcpSettings(push_account="push@p", functions={"mailer": "https://mailer-12.europe-west1.run.app"})
    type_ = "gcp:cloudrunv2/serviceIamMember:ServiceIamMember"
    (member,) = [resource for resource in gcp.plan(topology(text), settings).resources if resource.type == type_]
    assert dict(member.properties) == {
        "project": "12",
        "location": "europe-west1",
        "name": "mailer",
        "role": "roles/run.invoker",
        "member": "serviceAccount:push@p",
    }
    unsigned = gcp.GcpSettings(functions=settings.functions)
    assert type_ not in {resource.type for resource in gcp.plan(topology(text), unsigned).resources}


def test_azure_counts_hops_where_many_ways_lead_on() -> None:
    layers = range(40)
    text = "[bus]\nname = 'deep'\n" + "".join(
        f"[topics.t{at}]\n"
        + "".join(
            f"[subscriptions.s{at}{way}]\ntopic = 't{at}'\npush = {{ forward = 't{at + 1}' }}\n"
            for way in "ab"
            if at + 1 in layers
        )
        for at in layers
    )
    findings = check(loads(text, source="polybus.toml"), "azure")
    refused = [finding for finding in findings if "forwards a message 4 times" in str(finding)]
    assert len(refused) == 2 * (39 - 4)
    assert "as hop 39 from where it was published" in str(refused)
