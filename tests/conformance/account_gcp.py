"""A Google project by the application default credentials, or the server that PUBSUB_EMULATOR_HOST names."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

import google.auth
import grpc
from google.api_core.exceptions import GoogleAPICallError, NotFound
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import AuthorizedSession
from google.pubsub_v1 import PublisherClient, SubscriberClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport
from requests import RequestException

from polybus.clouds.gcp.local import Realiser, camel

from .live import Item, LiveError

EMULATOR, PROJECT, NUMBER = "PUBSUB_EMULATOR_HOST", "GOOGLE_CLOUD_PROJECT", "POLYBUS_LIVE_PROJECT_NUMBER"
SIGN_IN = "set GOOGLE_APPLICATION_CREDENTIALS, or sign in with `gcloud auth application-default login`"
SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
# Seconds for one look-up over HTTP.
LOOK_UP = 20.0


class GcpAccount:
    def __init__(self, project: str, number: str, publisher: PublisherClient, subscriber: SubscriberClient) -> None:
        self.project = project
        self.number = number
        self.publisher = publisher
        self.subscriber = subscriber
        self.where = f"Google project {project}"
        self._realiser = Realiser(project=project, clients=(publisher, subscriber))

    def create(self, type_: str, name: str, inputs: Mapping[str, Any]) -> dict[str, str]:
        return self._realiser.create(type_, name, inputs)

    def inputs(self, properties: Mapping[str, Any]) -> Mapping[str, Any]:
        found: Mapping[str, Any] = camel(properties)
        return found

    def made(self, type_: str, outputs: Mapping[str, str]) -> Item | None:
        kinds = {"gcp:pubsub/topic:Topic": "topic", "gcp:pubsub/subscription:Subscription": "subscription"}
        return Item(kinds[type_], outputs["name"], outputs["id"]) if type_ in kinds else None

    def find(self, start: str) -> Iterator[Item]:
        project = f"projects/{self.project}"
        listed = (
            ("subscription", self.subscriber.list_subscriptions(project=project)),
            ("topic", self.publisher.list_topics(project=project)),
        )
        for kind, found in listed:
            for each in found:
                name = each.name.rsplit("/", 1)[-1]
                if name.startswith(start):
                    yield Item(kind, name, each.name)

    def delete(self, item: Item) -> None:
        try:
            if item.kind == "topic":
                self.publisher.delete_topic(topic=item.address)
            else:
                self.subscriber.delete_subscription(subscription=item.address)
        except NotFound:
            return

    def close(self) -> None:
        self._realiser.close()


def open_account() -> GcpAccount:
    """Open the project that the environment or the credentials name, after asking for its number.

    The number is in the name of the agent that forwards dead letters, whom the plan grants that.
    """
    emulator = os.environ.get(EMULATOR)
    if emulator:
        channel = grpc.insecure_channel(emulator)
        clients = (
            PublisherClient(transport=PublisherGrpcTransport(channel=channel)),
            SubscriberClient(transport=SubscriberGrpcTransport(channel=channel)),
        )
        return GcpAccount(_project(None), "1", *clients)
    try:
        credentials, default = google.auth.default(scopes=SCOPES)
        project = _project(default)
        number = os.environ.get(NUMBER) or _number(credentials, project)
    except GoogleAuthError as error:
        raise LiveError(f"POLYBUS_LIVE=gcp: {type(error).__name__}: {error}; {SIGN_IN}") from error
    account = GcpAccount(
        project, number, PublisherClient(credentials=credentials), SubscriberClient(credentials=credentials)
    )
    try:
        next(iter(account.publisher.list_topics(project=f"projects/{project}")), None)
    except GoogleAPICallError as error:
        account.close()
        raise LiveError(f"POLYBUS_LIVE=gcp: project {project}: {type(error).__name__}: {error.message}") from error
    return account


def _project(default: str | None) -> str:
    project = os.environ.get(PROJECT) or default
    if not project:
        raise LiveError(f"POLYBUS_LIVE=gcp: no project: set {PROJECT}")
    return project


def _number(credentials: Any, project: str) -> str:
    """Ask the Resource Manager for the project's number."""
    url = f"https://cloudresourcemanager.googleapis.com/v3/projects/{project}"
    try:
        with AuthorizedSession(credentials) as session:
            answer = session.get(url, timeout=LOOK_UP)
        answer.raise_for_status()
        return str(answer.json()["name"].rsplit("/", 1)[-1])
    except RequestException as error:
        raise LiveError(
            f"POLYBUS_LIVE=gcp: the number of project {project}: {error}; enable the Cloud Resource Manager API, or "
            f"set {NUMBER}"
        ) from error
