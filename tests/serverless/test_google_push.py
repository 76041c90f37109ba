"""Cloud Run: who may push, what is pushed, and what is answered."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import signing
from asgi import post, post_parts
from platforms import CERTS
from shop import Shop, binding, event

from polybus import App, ConfigError
from polybus.serverless import CloudRun, GoogleTokens, Unverified, cloud_run
from polybus.serverless.fetch import CertificateCache, Fetched

ME = signing.signer


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


class Door:
    """An application, its shop, and the keys that it finds."""

    def __init__(self, *sources: str) -> None:
        self.shop = Shop(*sources)
        self.web = signing.Web({CERTS: signing.google_keys(ME())})
        tokens = GoogleTokens(signing.AUDIENCE, signing.ACCOUNT, request=CertificateCache(self.web))
        self.application: CloudRun = cloud_run(self.shop.app, binding("gcp"), verify=tokens)

    async def push(self, token: str | None = None, **changed: Any) -> int:
        given = {**event("pubsub_push"), **changed}
        return await post(self.application, json.dumps(given).encode(), bearer(token or ME().token()))


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    door = Door()
    yield door
    await door.application.close()


async def test_a_push_that_google_signed_is_acked(door: Door) -> None:
    assert await door.push() == 204
    (delivery,) = door.shop.deliveries
    assert (delivery.id, delivery.attempt, delivery.attributes) == ("2070443601311540", 5, {"region": "eu"})
    assert delivery.message.published_at == pytest.approx(1614366835.749)


@pytest.mark.parametrize(
    "changed",
    [
        {"aud": "https://other.example.run.app"},
        {"email": "someone@else.iam.gserviceaccount.com"},
        {"email_verified": False},
        {"email_verified": "true"},
        {"iss": "https://accounts.example.com"},
        {"exp": int(time.time()) - 3600, "iat": int(time.time()) - 7200},
        {"iat": int(time.time()) + 3600, "exp": int(time.time()) + 7200},
    ],
    ids=lambda changed: " ".join(changed),
)
async def test_a_token_for_others_or_another_time_is_refused(door: Door, changed: dict[str, Any]) -> None:
    assert await door.push(ME().token(**changed)) == 403
    assert door.shop.deliveries == []


async def test_a_token_that_someone_else_signed_is_refused(door: Door) -> None:
    assert await door.push(signing.Signer().token()) == 403
    header, claims, _ = ME().token().split(".")
    none = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').rstrip(b"=").decode()
    assert await door.push(f"{none}.{claims}.") == 403
    assert await door.push(f"{header}.{claims}.") == 403
    assert await door.push("nonsense") == 403
    assert door.shop.deliveries == []


@pytest.mark.parametrize("header", [{}, {"Authorization": "Basic c2hvcDpzZWNyZXQ="}, {"Authorization": "Bearer "}])
async def test_without_a_token_nothing_is_handled(door: Door, header: dict[str, str]) -> None:
    assert await post(door.application, json.dumps(event("pubsub_push")).encode(), header) == 401
    assert door.shop.deliveries == []


async def test_without_googles_keys_the_push_comes_again(door: Door) -> None:
    door.web.pages[CERTS] = Fetched(503, {}, b"")
    assert await door.push() == 503
    door.web.pages[CERTS] = signing.google_keys(ME())
    assert await door.push() == 204


async def test_keys_are_fetched_as_seldom_as_google_asks(door: Door) -> None:
    for _ in range(3):
        await door.push()
    assert door.web.asked == [CERTS]
    door.web.pages[CERTS] = signing.google_keys(ME(), max_age=0)
    other = Door()
    other.web.pages[CERTS] = signing.google_keys(ME(), max_age=0)
    for _ in range(3):
        await other.push()
    assert other.web.asked == [CERTS] * 3
    await other.application.close()


async def test_pushes_are_refused_until_it_is_said_who_may(door: Door) -> None:
    shop = Shop()
    application = cloud_run(shop.app, binding("gcp"))
    assert await post(application, json.dumps(event("pubsub_push")).encode(), bearer(ME().token())) == 403
    assert shop.deliveries == []


def test_an_audience_without_an_account_is_refused() -> None:
    for half in ({"audience": signing.AUDIENCE}, {"service_account": signing.ACCOUNT}):
        with pytest.raises(ConfigError, match="audience and service_account: at least one each"):
            cloud_run(Shop().app, binding("gcp"), **half)  # type: ignore[arg-type]


async def test_a_verifier_of_ones_own_decides(door: Door) -> None:
    def verify(token: str) -> None:
        if token != "good":
            raise Unverified("not good")

    application = cloud_run(door.shop.app, binding("gcp"), verify=verify)
    body = json.dumps(event("pubsub_push")).encode()
    assert await post(application, body, bearer("bad")) == 403
    assert await post(application, body, bearer("good")) == 204
    await application.close()


@pytest.mark.parametrize(
    "changed",
    [
        {"message": {"data": "****", "messageId": "1", "publishTime": "2021-02-26T19:13:55.749Z"}},
        {"message": {"data": "", "messageId": "1", "publishTime": "yesterday"}},
        {"message": {"data": "", "publishTime": "2021-02-26T19:13:55.749Z"}},
        {"message": []},
        {"deliveryAttempt": "many"},
    ],
)
async def test_a_wrapper_with_something_wrong_in_it_is_refused(door: Door, changed: dict[str, Any]) -> None:
    assert await door.push(**changed) == 400
    assert door.shop.deliveries == []


async def test_nanoseconds_and_absent_data_are_read(door: Door) -> None:
    app, seen = App(), []

    @app.handler("billing")
    async def bill(body: bytes) -> None:
        seen.append(body)

    application = cloud_run(app, binding("gcp"), verify=lambda token: None)
    given = event("pubsub_push")
    del given["message"]["data"]
    given["message"]["publishTime"] = "2021-02-26T19:13:55.749123456Z"
    assert await post(application, json.dumps(given).encode(), bearer("any")) == 204
    assert seen == [b""]
    await application.close()


async def test_the_source_is_the_subscription_that_pushes() -> None:
    door = Door("billing", "packing")
    assert await door.push(subscription="projects/myproject/subscriptions/shop-packing") == 204
    assert door.shop.deliveries[0].source == "packing"
    assert await door.push(subscription="projects/myproject/subscriptions/other") == 500
    await door.application.close()


async def test_data_alone_goes_to_the_only_handler_and_needs_no_metadata(door: Door) -> None:
    assert await post(door.application, b'{"id": "plain"}', {**bearer(ME().token()), "region": "eu"}) == 204
    (delivery,) = door.shop.deliveries
    assert (delivery.attributes, delivery.attempt, delivery.id) == ({}, 1, "")
    two = Door("billing", "packing")
    assert await post(two.application, b'{"id": "plain"}', bearer(ME().token())) == 500
    await two.application.close()


async def test_a_body_in_parts_is_one_and_one_that_breaks_off_is_none(door: Door) -> None:
    body = json.dumps(event("pubsub_push")).encode()
    headers = bearer(ME().token())
    assert await post_parts(door.application, [body[:10], b"", body[10:]], headers) == 204
    assert await post_parts(door.application, [], headers) == 400
    assert len(door.shop.deliveries) == 1


async def test_what_is_too_large_is_refused_before_it_is_read(door: Door) -> None:
    headers = {**bearer(ME().token()), "Content-Length": str(17 * 1024 * 1024)}
    assert await post(door.application, b"{}", headers) == 413
    part = b"x" * 1024 * 1024
    assert await post_parts(door.application, [part] * 17, bearer(ME().token())) == 413


async def test_other_methods_are_refused(door: Door) -> None:
    assert await post(door.application, b"", {}, method="GET") == 405


async def test_a_handler_slower_than_the_lease_is_cancelled_and_the_push_comes_again() -> None:
    from polybus import SteppedClock

    clock, app = SteppedClock(), App()

    @app.handler("billing")
    async def bill(body: bytes) -> None:
        clock.advance(61)
        await asyncio.Event().wait()

    application = cloud_run(app, binding("gcp"), verify=lambda token: None, clock=clock)
    assert await post(application, json.dumps(event("pubsub_push")).encode(), bearer("any")) == 503
    await application.close()


async def test_a_servers_lifespan_opens_and_closes_the_app(door: Door) -> None:
    sent: list[dict[str, Any]] = []
    coming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    told = asyncio.Event()

    async def send(message: Any) -> None:
        sent.append(message)
        told.set()

    serving = asyncio.create_task(door.application({"type": "lifespan"}, coming.get, send))
    coming.put_nowait({"type": "lifespan.startup"})
    await told.wait()
    assert door.shop.lifespans == ["begin"]
    assert await door.push() == 204
    coming.put_nowait({"type": "lifespan.shutdown"})
    await serving
    assert [message["type"] for message in sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert door.shop.lifespans == ["begin", "end"]
    assert await door.push() == 500


async def test_a_start_that_fails_is_told_to_the_server() -> None:
    shop = Shop("nowhere")
    application = cloud_run(shop.app, binding("gcp"), verify=lambda token: None)
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "lifespan.startup"}

    async def send(message: Any) -> None:
        sent.append(message)

    with pytest.raises(ConfigError, match="nothing named 'nowhere'"):
        await application({"type": "lifespan"}, receive, send)
    assert [message["type"] for message in sent] == ["lifespan.startup.failed"]
    with pytest.raises(ConfigError, match="POST alone"):
        await application({"type": "websocket"}, receive, send)


async def test_who_proves_nothing_is_refused_before_anything_is_read(door: Door) -> None:
    async def receive() -> dict[str, Any]:
        raise AssertionError("it was read")

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    for headers in ([], [(b"authorization", b"Bearer nonsense")]):
        scope = {"type": "http", "method": "POST", "path": "/", "headers": headers}
        await door.application(scope, receive, send)
    assert [message["status"] for message in sent if "status" in message] == [401, 403]


@pytest.mark.parametrize("claim", ["exp", "iat", "iss", "aud", "email", "email_verified"])
@pytest.mark.parametrize("value", [None, "x", ["x"], {"x": 1}], ids=str)
async def test_claims_of_any_kind_are_refused(door: Door, claim: str, value: Any) -> None:
    assert await door.push(ME().token(**{claim: value})) == 403


@pytest.mark.parametrize(
    "header",
    [
        b"[]",
        b"null",
        b"\xff",
        b"{}",
        b'{"alg": "HS256", "kid": "k1", "typ": "JWT"}',
        b'{"alg": "ES256", "kid": "k1", "typ": "JWT"}',
        b'{"alg": ["RS256"], "kid": "k1", "typ": "JWT"}',
        b'{"alg": "RS256", "kid": "k2", "typ": "JWT"}',
        b'{"alg": "RS256", "kid": ["k1"], "typ": "JWT"}',
    ],
)
async def test_the_algorithm_is_not_the_senders_to_choose(door: Door, header: bytes) -> None:
    """Among them: the public key as the secret of a symmetric algorithm, which fools who lets the token choose."""
    _, claims, signature = ME().token().split(".")
    encoded = base64.urlsafe_b64encode(header).rstrip(b"=").decode()
    secret = hmac.new(ME().certificate, f"{encoded}.{claims}".encode(), "sha256").digest()
    for attempt in (signature, base64.urlsafe_b64encode(secret).rstrip(b"=").decode(), ""):
        assert await door.push(f"{encoded}.{claims}.{attempt}") == 403
    assert door.shop.deliveries == []
