"""Each place that can invoke the handlers, behind one face: hand over bodies, learn which come again."""

from __future__ import annotations

import asyncio
import base64
import copy
import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import signing
import trigger
from asgi import post
from shop import Shop, binding, event

from polybus.serverless import HandlersFailed, aws_lambda, azure_functions, cloud_run
from polybus.serverless.fetch import CertificateCache, Fetched
from polybus.serverless.google_tokens import GoogleTokens

CERTS = "https://www.googleapis.com/oauth2/v1/certs"


class Platform(Protocol):
    """`invoke` hands over one message and says whether it comes again."""

    counts: bool  # says how often a message was delivered

    async def invoke(self, body: bytes, attributes: Mapping[str, str]) -> bool: ...
    async def close(self) -> None: ...


class LambdaSqs:
    counts = True

    def __init__(self, shop: Shop) -> None:
        self.function = aws_lambda(shop.app, binding("aws"))

    async def invoke(self, body: bytes, attributes: Mapping[str, str]) -> bool:
        given = event("sqs")
        record = given["Records"][0]
        record["body"] = body.decode()
        record["attributes"]["ApproximateReceiveCount"] = "2"
        for name, value in attributes.items():
            record["messageAttributes"][name] = {"stringValue": value, "dataType": "String"}
        answer = await asyncio.to_thread(self.function, given)
        assert answer is not None
        return answer["batchItemFailures"] == [{"itemIdentifier": record["messageId"]}]

    async def close(self) -> None:
        await asyncio.to_thread(self.function.close)


class LambdaSns:
    counts = False

    def __init__(self, shop: Shop) -> None:
        self.function = aws_lambda(shop.app, binding("aws", push=True))

    async def invoke(self, body: bytes, attributes: Mapping[str, str]) -> bool:
        given = event("sns")
        given["Records"][0]["Sns"]["Message"] = body.decode()
        for name, value in attributes.items():
            given["Records"][0]["Sns"]["MessageAttributes"][name] = {"Type": "String", "Value": value}
        try:
            assert await asyncio.to_thread(self.function, given) is None
        except HandlersFailed:
            return True
        return False

    async def close(self) -> None:
        await asyncio.to_thread(self.function.close)


class Azure:
    counts = True

    def __init__(self, shop: Shop) -> None:
        self.function = azure_functions(shop.app, binding("azure"))

    async def invoke(self, body: bytes, attributes: Mapping[str, str]) -> bool:
        try:
            await self.function(trigger.message(body, properties={"region": "eu", **attributes}))
        except HandlersFailed:
            return True
        return False

    async def close(self) -> None:
        await self.function.close()


class GooglePush:
    """Wrapped push requests."""

    counts = True

    def __init__(self, shop: Shop) -> None:
        web = signing.Web({CERTS: signing.google_keys(signing.signer())})
        verify = GoogleTokens(signing.AUDIENCE, signing.ACCOUNT, request=CertificateCache(web))
        self.application = cloud_run(shop.app, binding("gcp"), verify=verify)
        self.headers = {"Authorization": f"Bearer {signing.signer().token()}", "Content-Type": "application/json"}

    async def invoke(self, body: bytes, attributes: Mapping[str, str]) -> bool:
        given = event("pubsub_push")
        given["message"]["data"] = base64.b64encode(body).decode()
        given["message"]["attributes"].update(attributes)
        given["deliveryAttempt"] = 2
        return not 200 <= await post(self.application, json.dumps(given).encode(), self.headers) < 300

    async def close(self) -> None:
        await self.application.close()


class GooglePushUnwrapped(GooglePush):
    """Push requests without the wrapper, with metadata written."""

    async def invoke(self, body: bytes, attributes: Mapping[str, str]) -> bool:
        headers = {
            **self.headers,
            "Host": "shop.example.run.app",
            "User-Agent": "CloudPubSub-Google",
            "X-Forwarded-For": "66.102.6.34",
            "region": "eu",
            **attributes,
            "x-goog-pubsub-subscription-name": "projects/myproject/subscriptions/shop-billing",
            "x-goog-pubsub-message-id": "2070443601311540",
            "x-goog-pubsub-publish-time": "2021-02-26T19:13:55.749Z",
            "x-goog-pubsub-delivery-attempt": "2",
        }
        return not 200 <= await post(self.application, body, headers) < 300


class SnsHttps:
    counts = False
    headers: Mapping[str, str] = {
        "x-amz-sns-message-type": "Notification",
        "Content-Type": "text/plain; charset=UTF-8",
        "User-Agent": "Amazon Simple Notification Service Agent",
    }

    def __init__(self, shop: Shop) -> None:
        document = event("sns_https")
        self.web = signing.Web({document["SigningCertURL"]: Fetched(200, {}, signing.signer().certificate)})
        self.application = cloud_run(shop.app, binding("aws", push=True), fetch=self.web)

    async def invoke(self, body: bytes, attributes: Mapping[str, str]) -> bool:
        document = copy.deepcopy(event("sns_https"))
        document |= {"Message": body.decode(), "Timestamp": signing.stamp()}
        for name, value in attributes.items():
            document["MessageAttributes"][name] = {"Type": "String", "Value": value}
        return not 200 <= await self.post(signing.signer().sign_sns(document)) < 300

    async def post(self, document: Mapping[str, Any]) -> int:
        return await post(self.application, json.dumps(document).encode(), self.headers)

    async def close(self) -> None:
        await self.application.close()


PLATFORMS: Sequence[type[Any]] = (LambdaSqs, LambdaSns, Azure, GooglePush, GooglePushUnwrapped, SnsHttps)
