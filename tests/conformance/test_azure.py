"""The suite on Service Bus: azure-servicebus against the local server."""

from polybus.testing.conformance import Conformance

from .rig_azure import AzureRig


class TestAzure(Conformance):
    rig = AzureRig
