"""Push delivery, to a real HTTP server."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from aiohttp import web
from google.api_core import exceptions

BOUND = 30.0


@dataclass
class Endpoint:
    """Keeps what it is sent; answers with the next of `answers`, or 204."""

    url: str = ""
    answers: list[int] = field(default_factory=list)
    posts: asyncio.Queue[tuple[bytes, dict[str, str]]] = field(default_factory=asyncio.Queue)
    at_once: int = 0
    most_at_once: int = 0

    async def handle(self, request: web.Request) -> web.Response:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        body = await request.read()
        await asyncio.sleep(0)
        self.posts.put_nowait((body, dict(request.headers)))
        self.at_once -= 1
        return web.Response(status=self.answers.pop(0) if self.answers else 204)

    async def post(self) -> tuple[bytes, dict[str, str]]:
        return await asyncio.wait_for(self.posts.get(), BOUND)


@contextlib.asynccontextmanager
async def serving() -> AsyncIterator[Endpoint]:
    endpoint = Endpoint()
    app = web.Application()
    app.router.add_post("/push", endpoint.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    endpoint.url = f"http://127.0.0.1:{port}/push"
    try:
        yield endpoint
    finally:
        await runner.cleanup()


async def until(condition):
    for _ in range(3000):
        if condition():
            return
        await asyncio.sleep(0.01)
    pytest.fail("it never came true")


async def call(function, *args, **kwargs):
    return await asyncio.to_thread(function, *args, **kwargs)


async def test_messages_are_posted_wrapped_and_acked(rig, server):
    async with serving() as endpoint:
        topic, subscription = await call(rig.pair, push_config={"push_endpoint": endpoint.url})
        [number] = await call(rig.publish, topic, b"\x00body", key="k", a="b")
        body, headers = await endpoint.post()
        assert headers["Content-Type"] == "application/json"
        sent = json.loads(body)
        assert sent["subscription"] == subscription
        message = sent["message"]
        assert base64.b64decode(message["data"]) == b"\x00body"
        assert message["attributes"] == {"a": "b"}
        assert message["messageId"] == message["message_id"] == number
        assert message["publishTime"].endswith("Z")
        assert message["orderingKey"] == "k"
        assert "deliveryAttempt" not in sent
        await until(lambda: server.retained_messages == 0)
        with pytest.raises(exceptions.FailedPrecondition):
            await call(rig.wait, subscription)


async def test_a_refused_message_comes_again(rig, server, clock):
    async with serving() as endpoint:
        endpoint.answers = [500, 404, 200]
        topic, _ = await call(rig.pair, push_config={"push_endpoint": endpoint.url})
        await call(rig.publish, topic, b"x")
        for _ in range(3):
            await endpoint.post()
            clock.advance(1)
        await until(lambda: server.retained_messages == 0)


async def test_without_the_wrapper_the_body_is_the_data(rig):
    async with serving() as endpoint:
        config = {"push_endpoint": endpoint.url, "no_wrapper": {"write_metadata": True}}
        topic, subscription = await call(rig.pair, push_config=config)
        [number] = await call(rig.publish, topic, b"\x00body", key="k", team="b")
        body, headers = await endpoint.post()
        assert body == b"\x00body"
        assert headers["team"] == "b"
        assert headers["x-goog-pubsub-message-id"] == number
        assert headers["x-goog-pubsub-ordering-key"] == "k"
        assert headers["x-goog-pubsub-subscription-name"] == subscription


async def test_a_token_has_the_claims_and_no_signature(rig):
    async with serving() as endpoint:
        token = {"service_account_email": "push@p.iam.gserviceaccount.com", "audience": "shop"}
        topic, _ = await call(rig.pair, push_config={"push_endpoint": endpoint.url, "oidc_token": token})
        await call(rig.publish, topic, b"x")
        _, headers = await endpoint.post()
        head, claims, signature = headers["Authorization"].removeprefix("Bearer ").split(".")
        assert json.loads(base64.urlsafe_b64decode(head + "=="))["alg"] == "none"
        assert json.loads(base64.urlsafe_b64decode(claims + "=="))["aud"] == "shop"
        assert signature == ""


async def test_one_of_a_key_at_a_time_in_order(rig, server):
    async with serving() as endpoint:
        push = {"push_endpoint": endpoint.url}
        topic, _ = await call(rig.pair, push_config=push, enable_message_ordering=True)
        await call(rig.publish, topic, *[b"%d" % index for index in range(50)], key="k")
        bodies = [base64.b64decode(json.loads((await endpoint.post())[0])["message"]["data"]) for _ in range(50)]
        assert bodies == [b"%d" % index for index in range(50)]
        assert endpoint.most_at_once == 1
        await until(lambda: server.retained_messages == 0)


async def test_attempts_are_counted_and_letters_forwarded(rig, clock):
    agent = "serviceAccount:service-1@gcp-sa-pubsub.iam.gserviceaccount.com"
    async with serving() as endpoint:
        endpoint.answers = [500] * 5
        dead = await call(rig.topic, "dead")
        letters = await call(rig.subscription, "letters", dead)
        topic, subscription = await call(
            rig.pair,
            push_config={"push_endpoint": endpoint.url},
            dead_letter_policy={"dead_letter_topic": dead},
            ack_deadline_seconds=600,
        )
        for resource, role in ((dead, "roles/pubsub.publisher"), (subscription, "roles/pubsub.subscriber")):
            policy = {"bindings": [{"role": role, "members": [agent]}]}
            await call(rig.publisher.set_iam_policy, request={"resource": resource, "policy": policy})
        await call(rig.publish, topic, b"x")
        for attempt in range(1, 6):
            # In small steps: a jump could come before the server has read the refusal that begins the backoff.
            while endpoint.posts.empty():
                clock.advance(0.5)
                await asyncio.sleep(0.01)
            body, _ = await endpoint.post()
            assert json.loads(body)["deliveryAttempt"] == attempt
        [letter] = await call(rig.wait, letters)
        assert letter.message.data == b"x"


async def test_push_can_be_turned_off_and_on(rig):
    async with serving() as endpoint:
        topic, subscription = await call(rig.pair)
        push = {"push_endpoint": endpoint.url}
        await call(rig.publish, topic, b"1")
        await call(rig.subscriber.modify_push_config, subscription=subscription, push_config=push)
        await endpoint.post()
        await call(rig.subscriber.modify_push_config, subscription=subscription, push_config={})
        await call(rig.publish, topic, b"2")
        received = await call(rig.wait, subscription)
        assert [each.message.data for each in received] == [b"2"]
        await call(rig.nack, subscription, received)
        await call(rig.update, subscription, ["push_config"], push_config=push)
        await endpoint.post()


async def test_an_endpoint_that_isnt_there_loses_nothing(rig, clock, server):
    async with serving() as endpoint:
        url = endpoint.url
    topic, subscription = await call(rig.pair, push_config={"push_endpoint": url})
    await call(rig.publish, topic, b"x")
    clock.advance(5)
    await call(rig.subscriber.modify_push_config, subscription=subscription, push_config={})
    received: list[object] = []
    while not received:
        clock.advance(11)
        received = await call(rig.pull, subscription)
    assert server.retained_messages == 1
