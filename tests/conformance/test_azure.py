"""The suite on Service Bus: azure-servicebus against the local server, or, with POLYBUS_LIVE, an account."""

from polybus.testing.conformance import Conformance

from .live import choose
from .rig_azure import AzureRig


class TestAzure(Conformance):
    rig = choose("azure", AzureRig)
