"""The suite on SNS and SQS: boto3 against the local server."""

from polybus.testing.conformance import Conformance

from .rig_aws import AwsRig


class TestAws(Conformance):
    rig = AwsRig
