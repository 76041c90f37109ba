"""What a stack has beside SNS and SQS: made, read back, changed and taken away by boto3, over each one's protocol."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.exceptions import ClientError
from tests.localcloud.aws.conftest import Aws

from polybus.clock import SteppedClock
from polybus.localcloud.aws.errors import AwsError
from polybus.localcloud.aws.server import AwsServer
from polybus.localcloud.aws.wire import cbor
from polybus.localcloud.server import running_in_thread

TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": {"Effect": "Allow", "Principal": {"Service": "ecs.amazonaws.com"}, "Action": "sts:AssumeRole"},
    }
)
RIGHTS = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": "*"}]}
PROTOCOLS = ("query", "json", "smithy-rpc-v2-cbor")
ALARM = {
    "AlarmName": "too-old",
    "Namespace": "AWS/SQS",
    "MetricName": "ApproximateAgeOfOldestMessage",
    "Dimensions": [{"Name": "QueueName", "Value": "q"}],
    "Statistic": "Maximum",
    "Period": 300,
    "EvaluationPeriods": 1,
    "Threshold": 600.0,
    "ComparisonOperator": "GreaterThanThreshold",
}


def test_a_role_with_policies_of_both_kinds(aws: Aws) -> None:
    iam = aws.client("iam")
    role = iam.create_role(RoleName="till", AssumeRolePolicyDocument=TRUST, Tags=[{"Key": "a", "Value": "b"}])["Role"]
    assert role["Arn"] == "arn:aws:iam::000000000000:role/till"
    assert role["AssumeRolePolicyDocument"] == json.loads(TRUST)
    with pytest.raises(iam.exceptions.EntityAlreadyExistsException):
        iam.create_role(RoleName="till", AssumeRolePolicyDocument=TRUST)
    iam.put_role_policy(RoleName="till", PolicyName="inline", PolicyDocument=json.dumps(RIGHTS))
    assert iam.get_role_policy(RoleName="till", PolicyName="inline")["PolicyDocument"] == RIGHTS
    policy = iam.create_policy(PolicyName="send", PolicyDocument=json.dumps(RIGHTS))["Policy"]
    iam.attach_role_policy(RoleName="till", PolicyArn=policy["Arn"])
    iam.attach_role_policy(RoleName="till", PolicyArn="arn:aws:iam::aws:policy/ReadOnlyAccess")
    found = iam.list_attached_role_policies(RoleName="till")["AttachedPolicies"]
    assert [one["PolicyName"] for one in found] == ["send", "ReadOnlyAccess"]
    assert iam.get_policy(PolicyArn=policy["Arn"])["Policy"]["AttachmentCount"] == 1
    with pytest.raises(iam.exceptions.DeleteConflictException):
        iam.delete_role(RoleName="till")
    with pytest.raises(iam.exceptions.DeleteConflictException):
        iam.delete_policy(PolicyArn=policy["Arn"])
    for one in found:
        iam.detach_role_policy(RoleName="till", PolicyArn=one["PolicyArn"])
    iam.delete_role_policy(RoleName="till", PolicyName="inline")
    iam.delete_role(RoleName="till")
    iam.delete_policy(PolicyArn=policy["Arn"])
    with pytest.raises(iam.exceptions.NoSuchEntityException):
        iam.get_role(RoleName="till")


def test_versions_of_a_policy(aws: Aws) -> None:
    iam = aws.client("iam")
    arn = iam.create_policy(PolicyName="p", PolicyDocument=json.dumps(RIGHTS))["Policy"]["Arn"]
    other = {**RIGHTS, "Statement": [{"Effect": "Allow", "Action": "sqs:*", "Resource": "*"}]}
    made = iam.create_policy_version(PolicyArn=arn, PolicyDocument=json.dumps(other), SetAsDefault=True)
    version = made["PolicyVersion"]["VersionId"]
    assert iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"] == version
    assert iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"] == other
    with pytest.raises(iam.exceptions.DeleteConflictException):
        iam.delete_policy_version(PolicyArn=arn, VersionId=version)
    iam.delete_policy_version(PolicyArn=arn, VersionId="v1")
    assert [one["VersionId"] for one in iam.list_policy_versions(PolicyArn=arn)["Versions"]] == [version]
    with pytest.raises(iam.exceptions.MalformedPolicyDocumentException):
        iam.create_policy(PolicyName="bad", PolicyDocument="{}")


def test_alarms_of_both_kinds_and_their_tags(aws: Aws) -> None:
    watch = aws.client("cloudwatch")
    watch.put_metric_alarm(**ALARM, Tags=[{"Key": "bus", "Value": "shop"}])
    watch.put_composite_alarm(AlarmName="any", AlarmRule='ALARM("too-old")')
    [alarm] = watch.describe_alarms(AlarmNames=["too-old"])["MetricAlarms"]
    assert {name: alarm[name] for name in ALARM} == ALARM
    assert (alarm["StateValue"], alarm["ActionsEnabled"]) == ("INSUFFICIENT_DATA", True)
    [composite] = watch.describe_alarms(AlarmTypes=["CompositeAlarm"])["CompositeAlarms"]
    assert composite["AlarmRule"] == 'ALARM("too-old")'
    arn = alarm["AlarmArn"]
    watch.tag_resource(ResourceARN=arn, Tags=[{"Key": "more", "Value": "1"}])
    watch.untag_resource(ResourceARN=arn, TagKeys=["bus"])
    watch.put_metric_alarm(**{**ALARM, "Threshold": 700.0})
    assert watch.list_tags_for_resource(ResourceARN=arn)["Tags"] == [{"Key": "more", "Value": "1"}]
    watch.disable_alarm_actions(AlarmNames=["too-old"])
    assert watch.describe_alarms()["MetricAlarms"][0]["ActionsEnabled"] is False
    assert aws.client("cloudwatch", region="eu-west-1").describe_alarms()["MetricAlarms"] == []
    watch.delete_alarms(AlarmNames=["too-old", "any"])
    assert watch.describe_alarms()["MetricAlarms"] == []


def test_what_is_in_a_composite_alarm_s_rule_is_there_as_long_as_it_is(aws: Aws) -> None:
    watch = aws.client("cloudwatch")
    watch.put_metric_alarm(**ALARM)
    with pytest.raises(ClientError, match=r"alarms \[other\] in the alarm rule do not exist"):
        watch.put_composite_alarm(AlarmName="any", AlarmRule='ALARM("too-old") OR OK(other)')
    arn = watch.describe_alarms()["MetricAlarms"][0]["AlarmArn"]
    watch.put_metric_alarm(**{**ALARM, "AlarmName": "other"})
    for rule in ('ALARM("other") OR ALARM("too-old")', f"NOT (OK({arn})) AND ALARM(other)"):
        watch.put_composite_alarm(AlarmName="any", AlarmRule=rule)
        with pytest.raises(ClientError, match="Cannot delete other,too-old as there are composite"):
            watch.delete_alarms(AlarmNames=["other", "too-old"])
    assert len(watch.describe_alarms()["MetricAlarms"]) == 2
    watch.put_composite_alarm(AlarmName="any", AlarmRule='ALARM("other")')
    watch.delete_alarms(AlarmNames=["too-old"])
    watch.delete_alarms(AlarmNames=["any", "other"])
    assert watch.describe_alarms(AlarmTypes=["CompositeAlarm"])["CompositeAlarms"] == []


class Speaking:
    """Botocore's models, where CloudWatch's knows one protocol alone."""

    def __init__(self, loader: Any, protocol: str) -> None:
        self._loader = loader
        self._protocol = protocol

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def load_service_model(self, *names: Any, **more: Any) -> Any:
        model = self._loader.load_service_model(*names, **more)
        if names[:2] != ("cloudwatch", "service-2"):
            return model
        one = {"protocol": self._protocol, "protocols": [self._protocol]}
        return {**model, "metadata": {**model["metadata"], **one}}


def watching(aws: Aws, protocol: str) -> Any:
    """Return a client of CloudWatch that speaks this one of its protocols."""
    session = botocore.session.Session()
    session.register_component("data_loader", Speaking(session.get_component("data_loader"), protocol))
    return session.create_client(
        "cloudwatch",
        endpoint_url=aws.server.url,
        region_name="us-east-1",
        aws_access_key_id="local",
        aws_secret_access_key="local",
    )


@pytest.mark.parametrize("writes", PROTOCOLS)
def test_an_alarm_is_the_same_over_every_protocol_of_its_service(aws: Aws, writes: str) -> None:
    with contextlib.closing(watching(aws, writes)) as watch:
        watch.put_metric_alarm(**ALARM)
    for reads in PROTOCOLS:
        with contextlib.closing(watching(aws, reads)) as watch:
            [alarm] = watch.describe_alarms()["MetricAlarms"]
            assert {name: alarm[name] for name in ALARM} == ALARM
            assert alarm["StateUpdatedTimestamp"].year > 2000
            with pytest.raises(watch.exceptions.ClientError, match="does not exist"):
                watch.list_tags_for_resource(ResourceARN="arn:aws:cloudwatch:us-east-1:000000000000:alarm:none")


def test_dashboards(aws: Aws) -> None:
    watch = aws.client("cloudwatch")
    watch.put_dashboard(DashboardName="shop", DashboardBody='{"widgets": []}')
    assert watch.get_dashboard(DashboardName="shop")["DashboardBody"] == '{"widgets": []}'
    assert [one["DashboardName"] for one in watch.list_dashboards()["DashboardEntries"]] == ["shop"]
    watch.delete_dashboards(DashboardNames=["shop"])
    with pytest.raises(watch.exceptions.ClientError, match="does not exist"):
        watch.get_dashboard(DashboardName="shop")


def test_log_groups(aws: Aws) -> None:
    logs = aws.client("logs")
    logs.create_log_group(logGroupName="sns/orders", tags={"a": "b"})
    with pytest.raises(logs.exceptions.ResourceAlreadyExistsException):
        logs.create_log_group(logGroupName="sns/orders")
    logs.put_retention_policy(logGroupName="sns/orders", retentionInDays=7)
    [group] = logs.describe_log_groups(logGroupNamePrefix="sns/")["logGroups"]
    assert group["retentionInDays"] == 7
    logs.tag_resource(resourceArn=group["logGroupArn"], tags={"c": "d"})
    assert logs.list_tags_for_resource(resourceArn=group["arn"])["tags"] == {"a": "b", "c": "d"}
    logs.delete_log_group(logGroupName="sns/orders")
    assert logs.describe_log_groups()["logGroups"] == []


def test_parameters(aws: Aws) -> None:
    ssm = aws.client("ssm")
    ssm.put_parameter(Name="/shop/till", Value="{}", Type="String", Tags=[{"Key": "a", "Value": "b"}])
    with pytest.raises(ssm.exceptions.ParameterAlreadyExists):
        ssm.put_parameter(Name="/shop/till", Value="x", Type="String")
    assert ssm.put_parameter(Name="/shop/till", Value="x" * 5000, Overwrite=True, Tier="Advanced")["Version"] == 2
    found = ssm.get_parameter(Name="/shop/till")["Parameter"]
    assert (found["Value"], found["ARN"]) == ("x" * 5000, "arn:aws:ssm:us-east-1:000000000000:parameter/shop/till")
    assert ssm.get_parameter(Name=found["ARN"])["Parameter"]["Version"] == 2
    assert ssm.get_parameters(Names=["/shop/till", "/no"])["InvalidParameters"] == ["/no"]
    filters = [{"Key": "Name", "Option": "Equals", "Values": ["/shop/till"]}]
    assert ssm.describe_parameters(ParameterFilters=filters)["Parameters"][0]["Tier"] == "Advanced"
    tags = ssm.list_tags_for_resource(ResourceType="Parameter", ResourceId="/shop/till")["TagList"]
    assert tags == [{"Key": "a", "Value": "b"}]
    with pytest.raises(ssm.exceptions.ClientError, match="maximum of 4096"):
        ssm.put_parameter(Name="big", Value="x" * 4097, Type="String")
    ssm.delete_parameter(Name="/shop/till")
    with pytest.raises(ssm.exceptions.ParameterNotFound):
        ssm.get_parameter(Name="/shop/till")


def test_who_may_invoke_a_function(aws: Aws) -> None:
    functions = aws.client("lambda")
    given = {"FunctionName": "bill", "StatementId": "sns", "Principal": "sns.amazonaws.com"}
    functions.add_permission(**given, Action="lambda:InvokeFunction", SourceArn=aws.topic())
    with pytest.raises(functions.exceptions.ResourceConflictException):
        functions.add_permission(**given, Action="lambda:InvokeFunction")
    [statement] = json.loads(functions.get_policy(FunctionName="bill")["Policy"])["Statement"]
    assert statement["Principal"] == {"Service": "sns.amazonaws.com"}
    assert statement["Condition"] == {"ArnLike": {"AWS:SourceArn": aws.topic()}}
    functions.remove_permission(FunctionName="bill", StatementId="sns")
    with pytest.raises(functions.exceptions.ResourceNotFoundException):
        functions.get_policy(FunctionName="bill")


def test_every_key_is_there(aws: Aws) -> None:
    found = aws.client("kms").describe_key(KeyId="arn:aws:kms:us-east-1:111122223333:key/abc")["KeyMetadata"]
    assert (found["KeyState"], found["KeyId"]) == ("Enabled", "abc")


def test_what_is_not_there_is_refused_by_name_in_each_protocol(aws: Aws) -> None:
    calls: list[Any] = [
        lambda: aws.client("iam").list_users(),
        lambda: aws.client("cloudwatch").list_metrics(),
        lambda: aws.client("logs").list_anomalies(),
        lambda: aws.client("ssm").list_documents(),
        lambda: aws.client("kms").list_keys(),
        lambda: aws.client("lambda").list_functions(),
    ]
    for call in calls:
        with pytest.raises(aws.sqs.exceptions.ClientError, match="is not valid for this endpoint"):
            call()


def test_a_key_s_policy_holds_for_what_is_remembered_too(aws: Aws) -> None:
    only = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "iam:GetRole", "Resource": "*"}]}
    aws.server.identities.put("reader", only)
    iam = aws.client("iam", "reader")
    with pytest.raises(iam.exceptions.NoSuchEntityException):
        iam.get_role(RoleName="none")
    with pytest.raises(iam.exceptions.ClientError, match="not authorized"):
        iam.create_role(RoleName="till", AssumeRolePolicyDocument=TRUST)


def test_it_all_outlives_a_restart(tmp_path: Path) -> None:
    for first in (True, False):
        clock = SteppedClock()
        with running_in_thread(AwsServer(clock=clock, data=tmp_path)) as server:
            aws = Aws(server, clock)
            try:
                if first:
                    aws.client("iam").create_role(RoleName="till", AssumeRolePolicyDocument=TRUST)
                    aws.client("cloudwatch").put_metric_alarm(**ALARM)
                assert aws.client("iam").get_role(RoleName="till")["Role"]["RoleName"] == "till"
                assert len(aws.client("cloudwatch").describe_alarms()["MetricAlarms"]) == 1
            finally:
                aws.close()


# CBOR -----------------------------------------------------------------------------------------------------------------


def values() -> Iterator[Any]:
    yield from (0, 23, 24, 255, 256, 65_536, 2**40, -1, -500, 1.5, True, False, "", "é" * 300, b"\x00" * 30, [], {})
    yield [1, ["a", {"b": [2.25]}]]
    yield {"a": {"b": list(range(40))}}


@pytest.mark.parametrize("value", list(values()), ids=repr)
def test_cbor_comes_back_as_it_went(value: Any) -> None:
    assert cbor.decode(cbor.encode({"value": value})) == {"value": value}


def test_cbor_of_open_length_and_times_is_read() -> None:
    assert cbor.decode(b"\xbf\x61a\x9f\x01\x02\xff\x61t\xc1\xfb" + b"\x41\xd0" + bytes(6) + b"\xff") == {
        "a": [1, 2],
        "t": 1073741824.0,
    }


@pytest.mark.parametrize(
    "data",
    [b"\xff", b"\xa1", b"\xa1\x61a", b"\x81" * 100, b"\x7a\xff\xff\xff\xff", b"\x01", b"\xa0\x00", b"\xbf\x61a\xff"],
)
def test_what_is_no_cbor_map_is_refused(data: bytes) -> None:
    with pytest.raises(AwsError, match="CBOR"):
        cbor.decode(data)
