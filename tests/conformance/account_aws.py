"""An AWS account by boto3's default chain: credentials, region, and AWS_ENDPOINT_URL."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from polybus.clouds.aws.local import Realiser, camel

from .live import Item, LiveError

SET_CREDENTIALS = "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or sign in with `aws sso login`"


class AwsAccount:
    def __init__(self, session: boto3.Session, number: str) -> None:
        self.session = session
        self.where = f"AWS account {number}, {session.region_name}"
        self._realiser = Realiser(endpoint=None, session=session)
        self._sns: Any = session.client("sns")
        self._sqs: Any = session.client("sqs")

    def create(self, type_: str, name: str, inputs: Mapping[str, Any]) -> dict[str, str]:
        return self._realiser.create(type_, name, inputs)

    def inputs(self, properties: Mapping[str, Any]) -> Mapping[str, Any]:
        return {camel(key): value for key, value in properties.items()}

    def made(self, type_: str, outputs: Mapping[str, str]) -> Item | None:
        if type_ == "aws:sns/topic:Topic":
            return Item("topic", outputs["name"], outputs["arn"])
        return Item("queue", outputs["name"], outputs["url"]) if type_ == "aws:sqs/queue:Queue" else None

    def find(self, start: str) -> Iterator[Item]:
        for page in self._sqs.get_paginator("list_queues").paginate(QueueNamePrefix=start):
            for url in page.get("QueueUrls", ()):
                yield Item("queue", url.rsplit("/", 1)[-1], url)
        for page in self._sns.get_paginator("list_topics").paginate():
            for topic in page["Topics"]:
                name = topic["TopicArn"].rsplit(":", 1)[-1]
                if name.startswith(start):
                    yield Item("topic", name, topic["TopicArn"])

    def delete(self, item: Item) -> None:
        """Delete a queue, or a topic with its subscriptions; SNS has nothing against deleting what isn't there."""
        if item.kind == "topic":
            self._sns.delete_topic(TopicArn=item.address)
            return
        try:
            self._sqs.delete_queue(QueueUrl=item.address)
        except self._sqs.exceptions.QueueDoesNotExist:
            return

    def close(self) -> None:
        self._realiser.close()
        self._sns.close()
        self._sqs.close()


def open_account() -> AwsAccount:
    """Open the account of the default chain, after asking whose it is."""
    try:
        session = boto3.Session()
        # boto3 reads the region from AWS_DEFAULT_REGION and the profile alone.
        region = session.region_name or os.environ.get("AWS_REGION")
        if not region:
            raise LiveError("POLYBUS_LIVE=aws: no region: set AWS_REGION, or AWS_PROFILE with a region")
        if session.get_credentials() is None:
            raise LiveError(f"POLYBUS_LIVE=aws: no credentials: {SET_CREDENTIALS}")
        session = boto3.Session(region_name=region)
        with contextlib.closing(session.client("sts")) as sts:
            number = sts.get_caller_identity()["Account"]
    except (BotoCoreError, ClientError) as error:
        raise LiveError(f"POLYBUS_LIVE=aws: {type(error).__name__}: {error}; {SET_CREDENTIALS}") from error
    return AwsAccount(session, number)
