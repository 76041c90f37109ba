"""Part of the suite on Service Bus as real namespaces are reached: over TLS, and through a proxy on WebSockets."""

from __future__ import annotations

from polybus.testing.conformance import DeadLetters, Delivering, Publishing

from .rig_azure_network import AzureOverTls, AzureOverWebSocket


class TestAzureOverTls(Publishing, Delivering, DeadLetters):
    rig = AzureOverTls


class TestAzureOverWebSocket(Publishing):
    rig = AzureOverWebSocket
