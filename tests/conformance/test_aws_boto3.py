"""The suite on SNS and SQS by boto3 alone, against the local server."""

from polybus.testing.conformance import Conformance

from .rig_aws import AwsBoto3Rig


class TestAwsBoto3(Conformance):
    rig = AwsBoto3Rig
