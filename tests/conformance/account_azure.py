"""A Service Bus namespace by DefaultAzureCredential, or the local server that the connection string names."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from azure.core.exceptions import AzureError, ResourceNotFoundError
from azure.core.pipeline.transport import RequestsTransport
from azure.identity import DefaultAzureCredential
from azure.servicebus.management import ServiceBusAdministrationClient

from polybus.clouds.azure.driver.network import CA_FILE, connection_string
from polybus.clouds.azure.local import Realiser, camel, camelled
from polybus.errors import BindingError

from .live import Item, LiveError

HOST = "SERVICEBUS_FULLY_QUALIFIED_NAMESPACE"
SIGN_IN = (
    "sign in with `az login`, or set AZURE_CLIENT_ID, AZURE_TENANT_ID and AZURE_CLIENT_SECRET; the identity needs the "
    "role Azure Service Bus Data Owner on the namespace"
)


class AzureAccount:
    """A namespace; the `credential` is closed with it."""

    def __init__(
        self,
        host: str,
        administration: ServiceBusAdministrationClient,
        credential: DefaultAzureCredential | None = None,
    ) -> None:
        self.host = host
        self.where = f"Service Bus namespace {host}"
        self.administration = administration
        self._credential = credential
        self._realiser = Realiser(client=administration)

    def create(self, type_: str, name: str, inputs: Mapping[str, Any]) -> dict[str, str]:
        return self._realiser.create(type_, name, inputs)

    def inputs(self, properties: Mapping[str, Any]) -> Mapping[str, Any]:
        return {camel(key): camelled(value) for key, value in properties.items()}

    def made(self, type_: str, outputs: Mapping[str, str]) -> Item | None:
        """Name topics and queues; subscriptions are deleted with their topic."""
        kinds = {"azure-native:servicebus:Topic": "topic", "azure-native:servicebus:Queue": "queue"}
        return _item(kinds[type_], outputs["name"]) if type_ in kinds else None

    def find(self, start: str) -> Iterator[Item]:
        listed = (("topic", self.administration.list_topics()), ("queue", self.administration.list_queues()))
        for kind, found in listed:
            yield from (_item(kind, each.name) for each in found if each.name.startswith(start))

    def delete(self, item: Item) -> None:
        try:
            if item.kind == "topic":
                self.administration.delete_topic(item.name)
            else:
                self.administration.delete_queue(item.name)
        except ResourceNotFoundError:
            return

    def close(self) -> None:
        self._realiser.close()
        if self._credential is not None:
            self._credential.close()


def _item(kind: str, name: str) -> Item:
    return Item(kind, name, f"{kind}/{name}")


def open_account() -> AzureAccount:
    """Open the namespace that the environment names, after looking into it."""
    try:
        local = connection_string(os.environ)
    except BindingError as error:
        raise LiveError(f"POLYBUS_LIVE=azure: {error}") from error
    host = os.environ.get(HOST, "")
    if local is None and "." not in host:
        raise LiveError(f"POLYBUS_LIVE=azure: no namespace: set {HOST}, such as example.servicebus.windows.net")
    account = _connect(local, host)
    try:
        next(iter(account.administration.list_topics()), None)
    except AzureError as error:
        account.close()
        raise LiveError(f"POLYBUS_LIVE=azure: {account.where}: {type(error).__name__}: {error}; {SIGN_IN}") from error
    return account


def _connect(local: str | None, host: str) -> AzureAccount:
    if local is None:
        credential = DefaultAzureCredential()
        return AzureAccount(host, ServiceBusAdministrationClient(host, credential), credential)
    transport = RequestsTransport(connection_verify=os.environ.get(CA_FILE, True))
    administration = ServiceBusAdministrationClient.from_connection_string(local, transport=transport)
    return AzureAccount("local.invalid", administration)
