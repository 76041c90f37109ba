"""The suite on SNS and SQS: the lean way, against the local server or, with POLYBUS_LIVE, an account."""

from polybus.testing.conformance import Conformance

from .live import choose
from .rig_aws import AwsRig


class TestAws(Conformance):
    rig = choose("aws", AwsRig)
