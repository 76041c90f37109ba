"""SNS over HTTPS: who may deliver, whose subscriptions are confirmed, and what is answered."""

from __future__ import annotations

import copy
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import signing
from platforms import SnsHttps
from shop import TOPIC, Shop, binding, event

from polybus import ManualClock
from polybus.serverless import cloud_run
from polybus.serverless.fetch import Fetched
from polybus.serverless.sns_signature import SnsSignatures

CERT = event("sns_https")["SigningCertURL"]
SUBSCRIBE = event("sns_confirmation")["SubscribeURL"]


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture
async def door(shop: Shop) -> AsyncIterator[SnsHttps]:
    door = SnsHttps(shop)
    yield door
    await door.close()


def signed(name: str = "sns_https", version: str = "1", **changed: Any) -> dict[str, Any]:
    return signing.signer().sign_sns({**event(name), "Timestamp": signing.stamp(), **changed}, version)


@pytest.mark.parametrize("version", ["1", "2"])
async def test_both_versions_of_the_signature_are_good(door: SnsHttps, shop: Shop, version: str) -> None:
    assert await door.post(signed(version=version)) == 200
    without = {name: value for name, value in signed().items() if name != "Subject"}
    assert await door.post(signing.signer().sign_sns(without, version)) == 200
    assert shop.ids == ["one", "one"]
    assert door.web.asked == [CERT]


@pytest.mark.parametrize("field", ["Message", "MessageId", "Subject", "Timestamp", "Signature"])
async def test_a_field_that_was_changed_is_refused(door: SnsHttps, shop: Shop, field: str) -> None:
    document = signed()
    document[field] = '{"id": "forged"}' if field == "Message" else "Zm9yZ2Vk"
    assert await door.post(document) == 503
    assert shop.deliveries == []


async def test_someone_elses_key_is_refused(door: SnsHttps, shop: Shop) -> None:
    assert await door.post(signing.Signer().sign_sns(event("sns_https"))) == 503
    assert shop.deliveries == []


@pytest.mark.parametrize(
    "url",
    [
        "http://sns.us-east-2.amazonaws.com/a.pem",
        "https://sns.us-east-2.amazonaws.com.evil.example/a.pem",
        "https://evil.example/sns.us-east-2.amazonaws.com/a.pem",
        "https://sns.us-east-2.amazonaws.com@evil.example/a.pem",
        "https://user@sns.us-east-2.amazonaws.com/a.pem",
        "https://sns.us-east-2.amazonaws.com:8443/a.pem",
        "https://evil-sns.us-east-2.amazonaws.com/a.pem",
        "https://sns.us-east-2.evil.amazonaws.com/a.pem",
        "https://sns.us-east-2.amazonaws.com/?Action=GetTopicAttributes",
        "https://[sns.us-east-2.amazonaws.com/a.pem",
        "https://sns.us-east-2.amazonaws.com/a.pem?Action=GetTopicAttributes&TopicArn=of-someone",
        "https://sns.us-east-2.amazonaws.com/a.pem#b",
        "https://sns.us-east-2.amazonaws.com/a/../b.pem",
        "https://sns.us-east-2.amazonaws.com/%61.pem",
        "https://sns.us-\teast-2.amazonaws.com/a.pem",
        " https://sns.us-east-2.amazonaws.com/a.pem",
        "https://sns.us-east-2.amazonaws.com/a.pem\n",
        "https://sns.us-east-2.amazonaws.com\\@evil.example/a.pem",
        "HTTPS://SNS.us-east-2.amazonaws.com/a.pem",
        "",
        None,
    ],
)
async def test_certificates_come_from_sns_alone(door: SnsHttps, shop: Shop, url: str | None) -> None:
    door.web.pages[str(url)] = Fetched(200, {}, signing.signer().certificate)
    assert await door.post({**signed(), "SigningCertURL": url}) == 503
    assert door.web.asked == []
    assert shop.deliveries == []


async def test_certificates_of_china_are_sns_own(door: SnsHttps) -> None:
    url = "https://sns.cn-north-1.amazonaws.com.cn/SimpleNotificationService-1.pem"
    door.web.pages[url] = Fetched(200, {}, signing.signer().certificate)
    assert await door.post({**signed(), "SigningCertURL": url}) == 200


async def test_without_the_certificate_the_message_comes_again(door: SnsHttps, shop: Shop) -> None:
    for answer in (Fetched(500, {}, b""), Fetched(200, {}, b"<html>")):
        door.web.pages[CERT] = answer
        assert await door.post(signed()) == 503
    door.web.pages[CERT] = Fetched(200, {}, signing.signer().certificate)
    assert await door.post(signed()) == 200


async def test_a_certificate_out_of_date_is_refused(shop: Shop) -> None:
    clock = ManualClock()
    web = signing.Web({CERT: Fetched(200, {}, signing.signer().certificate)})
    verify = SnsSignatures(fetch=web, clock=clock)
    application = cloud_run(shop.app, binding("aws", push=True), verify_sns=verify, fetch=web)
    from asgi import post

    assert await post(application, json.dumps(signed()).encode(), SnsHttps.headers) == 503
    assert shop.deliveries == []


@pytest.mark.parametrize("version", ["0", "3", 1, None])
async def test_other_versions_are_refused(door: SnsHttps, shop: Shop, version: Any) -> None:
    assert await door.post({**signed(), "SignatureVersion": version}) == 503
    assert shop.deliveries == []


async def test_topics_that_are_not_ours_are_refused_before_anything_is_fetched(door: SnsHttps, shop: Shop) -> None:
    for name in ("sns_https", "sns_confirmation"):
        assert await door.post(signed(name, TopicArn="arn:aws:sns:us-east-2:666666666666:orders")) == 503
    assert door.web.asked == []
    assert shop.deliveries == []


async def test_a_subscription_of_our_topic_is_confirmed(door: SnsHttps, shop: Shop) -> None:
    door.web.pages[SUBSCRIBE] = Fetched(200, {}, b"<ConfirmSubscriptionResponse/>")
    assert await door.post(signed("sns_confirmation")) == 200
    assert door.web.asked == [CERT, SUBSCRIBE]
    assert shop.deliveries == []


async def test_a_confirmation_that_sns_does_not_take_comes_again(door: SnsHttps) -> None:
    assert await door.post(signed("sns_confirmation")) == 503


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/?Action=ConfirmSubscription&TopicArn=" + TOPIC,
        "https://sns.us-\teast-2.amazonaws.com/?Action=ConfirmSubscription&TopicArn=" + TOPIC,
        "https://sns.us-east-2.amazonaws.com/?Action=DeleteTopic&TopicArn=" + TOPIC,
        "https://sns.us-east-2.amazonaws.com/?Action=ConfirmSubscription&TopicArn=arn:aws:sns:us-east-2:6:orders",
        "https://sns.us-east-2.amazonaws.com/",
    ],
)
async def test_only_the_confirmation_itself_is_fetched(door: SnsHttps, url: str) -> None:
    door.web.pages[url] = Fetched(200, {}, b"")
    assert await door.post(signed("sns_confirmation", SubscribeURL=url)) == 503
    assert url not in door.web.asked


async def test_an_unsigned_confirmation_is_not_followed(door: SnsHttps) -> None:
    assert await door.post(event("sns_confirmation")) == 503
    assert SUBSCRIBE not in door.web.asked


async def test_the_end_of_a_subscription_is_noted(door: SnsHttps, caplog: pytest.LogCaptureFixture) -> None:
    assert await door.post(signed("sns_confirmation", Type="UnsubscribeConfirmation")) == 200
    assert f"a subscription of {TOPIC} to this endpoint was ended" in caplog.text
    assert SUBSCRIBE not in door.web.asked


async def test_raw_deliveries_prove_nothing_and_are_refused(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    from asgi import post

    application = cloud_run(shop.app, binding("aws", push=True))
    headers = {**SnsHttps.headers, "x-amz-sns-rawdelivery": "true"}
    assert await post(application, b'{"id": "one"}', headers) == 503
    assert "raw delivery carries no signature" in caplog.text
    assert shop.deliveries == []


async def test_a_delivery_that_was_recorded_is_refused_when_it_is_too_old_for_sns(door: SnsHttps, shop: Shop) -> None:
    assert await door.post(signed(Timestamp=signing.stamp(age=3600))) == 200
    assert await door.post(signed(Timestamp=signing.stamp(age=7300))) == 503
    assert await door.post(signed("sns_confirmation", Timestamp=signing.stamp(age=7300))) == 503
    assert SUBSCRIBE not in door.web.asked
    assert len(shop.deliveries) == 1


@pytest.mark.parametrize(
    "field",
    ["Type", "TopicArn", "Message", "MessageId", "Timestamp", "SignatureVersion", "Signature", "SigningCertURL"],
)
@pytest.mark.parametrize("value", [None, 1, ["1"], {"1": "1"}], ids=["null", "number", "list", "object"])
async def test_fields_that_are_no_text_are_refused_before_anything_is_fetched(
    door: SnsHttps, shop: Shop, field: str, value: Any
) -> None:
    assert await door.post({**signed(), field: value}) == 503
    assert door.web.asked == []
    assert shop.deliveries == []


@pytest.mark.parametrize("value", [None, 1, ["1"]], ids=["null", "number", "list"])
async def test_a_subject_that_is_no_text_is_refused(door: SnsHttps, shop: Shop, value: Any) -> None:
    assert await door.post({**signed(), "Subject": value}) == 503
    assert shop.deliveries == []


@pytest.mark.parametrize(
    "attributes",
    [
        {"a": "b"},
        {"a": {"Type": "String"}},
        {"a": {"Type": "Binary", "Value": "*"}},
        {"a": None},
        ["a"],
        {"polybus": {"Type": "String", "Value": "{"}},
    ],
    ids=str,
)
async def test_attributes_which_sns_does_not_sign_may_be_anything(door: SnsHttps, attributes: Any) -> None:
    assert await door.post({**signed(), "MessageAttributes": attributes}) in (200, 503)


async def test_what_a_refusal_says_is_short(door: SnsHttps, caplog: pytest.LogCaptureFixture) -> None:
    for field in ("TopicArn", "Type", "SignatureVersion", "SigningCertURL", "Timestamp"):
        assert await door.post({**signed(), field: "x" * 100_000}) == 503
    assert await door.post(signed(Timestamp="x" * 100_000)) == 503
    assert len(caplog.text) < 5_000


async def test_more_than_sns_sends_is_refused_before_it_is_read(door: SnsHttps) -> None:
    from asgi import post, post_parts

    assert await post(door.application, b"{}", {**SnsHttps.headers, "Content-Length": str(3 * 1024 * 1024)}) == 503
    assert await post(door.application, b"{}", {**SnsHttps.headers, "Content-Length": "9" * 5000}) == 503
    assert await post_parts(door.application, [b" " * 1024 * 1024] * 3, SnsHttps.headers) == 503
    assert await post(door.application, b"[" * 1_000_000, SnsHttps.headers) == 503


@pytest.mark.parametrize("body", [b"", b"[]", b'"x"', b"\xff", b'{"Type": "Notification"}'])
async def test_what_sns_never_posts_is_refused(shop: Shop, body: bytes) -> None:
    from asgi import post

    application = cloud_run(shop.app, binding("aws", push=True))
    assert await post(application, body, SnsHttps.headers) == 503


async def test_what_is_not_acked_is_a_servers_error_so_that_sns_keeps_it(door: SnsHttps, shop: Shop) -> None:
    for message in ('{"id": "dead"}', "not an order", '{"id": "fails"}', '{"id": "later"}'):
        assert await door.post(signed(Message=message)) == 503


async def test_topics_that_are_named_may_deliver_and_the_rest_may_not(shop: Shop) -> None:
    from asgi import post

    other = "arn:aws:sns:us-east-2:123456789012:other"
    web = signing.Web({CERT: Fetched(200, {}, signing.signer().certificate)})
    application = cloud_run(shop.app, binding("gcp"), handles="billing", topics=[other], fetch=web)
    body = json.dumps(signed(TopicArn=other)).encode()
    assert await post(application, body, SnsHttps.headers) == 200
    assert await post(application, json.dumps(signed()).encode(), SnsHttps.headers) == 503
    assert len(shop.deliveries) == 1
    await application.close()


async def test_without_any_topic_sns_is_refused(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    from asgi import post

    application = cloud_run(shop.app, binding("aws"))
    document = copy.deepcopy(signed())
    assert await post(application, json.dumps(document).encode(), SnsHttps.headers) == 503
    assert "the binding has no push subscription that the app handles" in caplog.text
