"""The suite on Pub/Sub: google-cloud-pubsub against the local server, or, with POLYBUS_LIVE, an account."""

from polybus.testing.conformance import Conformance

from .live import choose
from .rig_gcp import GcpRig


class TestGcp(Conformance):
    rig = choose("gcp", GcpRig)
