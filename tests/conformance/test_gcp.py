"""The suite on Pub/Sub: google-cloud-pubsub against the local server."""

from polybus.testing.conformance import Conformance

from .rig_gcp import GcpRig


class TestGcp(Conformance):
    rig = GcpRig
