"""The lean way beside boto3's: by which way calls go, what they mean when they fail, and when boto3 is left to them."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import boto3
import botocore.client
import botocore.httpsession
import msgspec
import pytest

from polybus.clouds.aws.driver.driver import AwsDriver
from polybus.clouds.aws.driver.lean import codec, connection, template
from polybus.driver import Outgoing
from polybus.errors import BindingError, Fault, FaultKind
from polybus.localcloud.aws.server import AwsServer
from polybus.localcloud.certificate import make_certificate
from polybus.message import Message, Sent

from .aws_lab import Lab, Way, bodies, lab

TOPOLOGY = """\
[bus]
name = "shop"
[topics.orders]
[queues.jobs]
lease = "40s"
[queues.keyed]
ordered = true
lease = "40s"
"""
BOTH = pytest.mark.parametrize("client", ["lean", "boto3"])


@pytest.fixture(scope="module")
def made() -> Iterator[Lab]:
    with pytest.MonkeyPatch.context() as patch, lab(TOPOLOGY, patch) as made:
        yield made


@pytest.fixture
def shop(made: Lab) -> Lab:
    made.empty()
    return made


async def publish(shop: Lab, driver: AwsDriver, target: str = "jobs", body: str = "x") -> Sent | Fault:
    publisher = await driver.open_publisher(shop.entity(target))
    prepared = publisher.prepare(Outgoing(Message(body.encode(), {"n": "é"}, None, "id")))
    [outcome] = await asyncio.gather(publisher.publish_batch([prepared]), return_exceptions=True)
    if isinstance(outcome, BaseException):
        assert isinstance(outcome, Exception)
        return driver.fault(outcome)
    [sent] = outcome
    assert isinstance(sent, Sent | Fault)
    return sent


async def receive(shop: Lab, driver: AwsDriver, source: str = "jobs") -> list[str]:
    consuming = await driver.open_consumer(shop.entity(source), prefetch=10, concurrency=1)
    return bodies(await consuming.receive_batch(10, wait=0))


# Ways -----------------------------------------------------------------------------------------------------------------


class Proxy:
    """A proxy by which every host is the local server: plain requests by whole addresses, and CONNECT, with TLS behind.

    `asked` has the first line of every request, and its credentials.
    """

    def __init__(self, server: AwsServer, tls: ssl.SSLContext | None, refuse: int | None = None) -> None:
        self._server = server
        self._tls = tls
        self._refuse = refuse
        self._tasks: set[asyncio.Task[Any]] = set()
        self.asked: list[tuple[str, str]] = []
        self.url = ""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Proxy]:
        listening = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = "http://us%20er:pass@{}:{}".format(*listening.sockets[0].getsockname())
        try:
            yield self
        finally:
            listening.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await listening.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        back, onward = await asyncio.open_connection(self._server.host, self._server.port)
        try:
            await self._request(reader, writer, back, onward)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            for each in (writer, onward):
                each.transport.abort()

    async def _request(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        back: asyncio.StreamReader,
        onward: asyncio.StreamWriter,
    ) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        named = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        self.asked.append((lines[0], named.get("proxy-authorization", "")))
        if self._refuse is not None:
            writer.write(b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % self._refuse)
            await writer.drain()
            return
        if lines[0].startswith("CONNECT"):
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await writer.drain()
            await writer.start_tls(self._tls)  # type: ignore[arg-type]
        else:
            # To the server as any client would send it.
            method, address, version = lines[0].split(" ")
            path = "/" + address.split("/", 3)[3]
            onward.write("\r\n".join([f"{method} {path} {version}", *lines[1:]]).encode())
        pumps = [asyncio.create_task(self._pump(*pair)) for pair in ((reader, onward), (back, writer))]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()


@asynccontextmanager
async def proxied(
    shop: Lab, monkeypatch: pytest.MonkeyPatch, folder: Path, host: str, refuse: int | None = None
) -> AsyncIterator[Proxy]:
    """Have all that isn't on this machine go by a proxy, behind which a host is the local server, with TLS too."""
    certificate, key = make_certificate(folder, host)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    for name in ("NO_PROXY", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    async with Proxy(shop.server, tls, refuse).running() as proxy:
        for name in ("http_proxy", "https_proxy"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
        yield proxy


AUTHORIZATION = "Basic " + base64.b64encode(b"us er:pass").decode()


@BOTH
async def test_a_region_s_endpoint_is_reached_by_tls_through_a_proxy(
    shop: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, client: str
) -> None:
    host = "sqs.us-east-1.amazonaws.com"
    async with proxied(shop, monkeypatch, tmp_path, host) as proxy, shop.driver(endpoint=None, client=client) as driver:
        assert isinstance(await publish(shop, driver), Sent)
        assert await receive(shop, driver) == ["x"]
        assert {line.rpartition(" ")[0] for line, _ in proxy.asked} == {f"CONNECT {host}:443"}
        assert {said for _, said in proxy.asked} == {AUTHORIZATION}


@BOTH
async def test_plain_http_goes_through_a_proxy_by_whole_addresses(
    shop: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, client: str
) -> None:
    async with (
        proxied(shop, monkeypatch, tmp_path, "unused") as proxy,
        shop.driver(endpoint="http://sqs.example.test", client=client) as driver,
    ):
        assert isinstance(await publish(shop, driver), Sent)
        assert await receive(shop, driver) == ["x"]
        assert {line for line, _ in proxy.asked} == {"POST http://sqs.example.test/ HTTP/1.1"}
        assert {said for _, said in proxy.asked} == {AUTHORIZATION}


@BOTH
async def test_a_proxy_that_refuses_is_named_without_its_password(
    shop: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, client: str
) -> None:
    async with (
        proxied(shop, monkeypatch, tmp_path, "unused", refuse=407),
        shop.driver(endpoint=None, client=client) as driver,
    ):
        found = await publish(shop, driver)
        assert isinstance(found, Fault)
        assert found.kind is FaultKind.UNAVAILABLE
        assert "***" in found.detail
        assert "pass" not in found.detail


@BOTH
async def test_an_endpoint_that_nobody_vouches_for_is_not_spoken_to(
    shop: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, client: str
) -> None:
    async with proxied(shop, monkeypatch, tmp_path, "sqs.us-east-1.amazonaws.com"):
        monkeypatch.delenv("AWS_CA_BUNDLE")
        async with shop.driver(endpoint=None, client=client) as driver:
            found = await publish(shop, driver)
            assert isinstance(found, Fault)
            assert found.kind is FaultKind.UNAVAILABLE
            assert "CERTIFICATE_VERIFY_FAILED" in found.detail
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "servicebus-ca.pem"))
    async with (
        proxied(shop, monkeypatch, tmp_path, "another.example"),
        shop.driver(endpoint=None, client=client) as driver,
    ):
        found = await publish(shop, driver)
        assert isinstance(found, Fault)
        assert found.kind is FaultKind.UNAVAILABLE
        assert not shop.counts(shop.entity("jobs").address)[0]


async def test_no_proxy_and_loopback_are_reached_directly(shop: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    async with shop.driver() as driver:
        assert isinstance(await publish(shop, driver), Sent)
    monkeypatch.setenv("no_proxy", "amazonaws.com")
    async with shop.driver(endpoint=None) as driver:
        client = await driver._clients.get("sqs")
        call = await driver._clients._services[client].call("ReceiveMessage", {"QueueUrl": shop.entity("jobs").address})
        assert call.route.proxy is None
        assert call.route.tls is not None


@pytest.mark.parametrize(
    ("region", "variables"),
    [
        ("eu-west-1", {}),
        ("us-gov-west-1", {"AWS_USE_FIPS_ENDPOINT": "true"}),
        ("us-east-1", {"AWS_USE_FIPS_ENDPOINT": "true", "AWS_USE_DUALSTACK_ENDPOINT": "true"}),
        ("cn-north-1", {"AWS_USE_DUALSTACK_ENDPOINT": "true"}),
        ("us-east-1", {"AWS_ENDPOINT_URL": "https://[::1]:4566/base"}),
        ("us-east-1", {"AWS_ENDPOINT_URL_SNS": "http://sns.test:80", "AWS_ENDPOINT_URL_SQS": "http://SQS.test"}),
    ],
)
@pytest.mark.parametrize("token", [None, "a+/token=="])
def test_endpoints_regions_and_signatures_are_botocore_s(
    monkeypatch: pytest.MonkeyPatch, region: str, variables: dict[str, str], token: str | None
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    session = boto3.Session("AKID", "secret", token, region_name=region)
    entry = {"Id": "0", "Message": "ü", "MessageAttributes": {"n": {"DataType": "String", "StringValue": "v w"}}}
    calls: list[tuple[str, str, dict[str, Any]]] = [
        ("sqs", "ReceiveMessage", {"QueueUrl": "https://q/1/2", "MaxNumberOfMessages": 10}),
        ("sqs", "DeleteMessageBatch", {"QueueUrl": "https://q/1/2", "Entries": [{"Id": "0", "ReceiptHandle": "h"}]}),
        ("sns", "PublishBatch", {"TopicArn": "arn:aws:sns:x:1:t", "PublishBatchRequestEntries": [entry]}),
    ]
    for service, operation, arguments in calls:
        client = session.client(service)
        try:
            found = template.template(client, operation, arguments, session.get_credentials())
            assert found.url.rstrip("/") == client.meta.endpoint_url.rstrip("/")
            sent = found.request(b"{}", template.keys_of(session.get_credentials()), 0.0)
            assert f"/19700101/{region}/{service}/aws4_request".encode() in sent
            assert (b"X-Amz-Security-Token: a+/token==\r\n" in sent) is (token is not None)
        finally:
            client.close()


async def test_a_function_s_invocation_is_told_of(shop: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    async with shop.driver() as driver:
        assert isinstance(await publish(shop, driver), Sent)
        client = await driver._clients.get("sqs")
        way = driver._clients._services[client]
        [made] = way._calls.values()
        monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "f")
        for trace in ("Root=1-a;Parent=b;Sampled=1", "Root=2"):
            monkeypatch.setenv("_X_AMZN_TRACE_ID", trace)
            assert f"X-Amzn-Trace-Id: {trace}\r\n".encode() in made.template.request(b"", await way.keys(), 0.0)


# Connections ----------------------------------------------------------------------------------------------------------


async def test_connections_are_kept_and_never_more_than_the_limit(shop: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polybus.clouds.aws.driver.clients.THREADS", 3)
    async with Way(shop.server) as way, shop.driver(endpoint=way.url) as driver:
        for number in range(5):
            assert isinstance(await publish(shop, driver, body=str(number)), Sent)
        assert way.connections == 1
        outcomes = await asyncio.gather(*(publish(shop, driver) for _ in range(30)))
        assert all(isinstance(each, Sent) for each in outcomes)
        assert way.connections <= 3


async def test_a_connection_that_was_closed_while_the_loop_stood_still_is_not_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = asyncio.get_running_loop()
    here, there = socket.socketpair()
    here.setblocking(False)
    _, made = await loop.create_connection(lambda: connection.Connection(loop), sock=here)
    answer = made.send(b"x", 20)
    there.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert (await answer).status == 200
    monkeypatch.setattr(connection, "FRESH", -1.0)
    assert made.is_fresh()
    there.close()  # and the loop has no turn to see it
    assert not made.is_fresh()
    assert not made.usable
    await asyncio.sleep(0)


async def test_a_caller_that_gives_up_while_it_waits_for_a_connection_takes_none_away(
    shop: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polybus.clouds.aws.driver.clients.THREADS", 1)
    async with Way(shop.server) as way, shop.driver(endpoint=way.url) as driver:
        assert isinstance(await publish(shop, driver), Sent)
        way.answers.clear()
        waiting = [asyncio.create_task(publish(shop, driver)) for _ in range(6)]
        await asyncio.sleep(0.05)
        for task in waiting[1:5]:
            task.cancel()
        way.answers.set()
        assert isinstance(await waiting[0], Sent | Fault)
        assert isinstance(await waiting[5], Sent | Fault)
        assert isinstance(await publish(shop, driver), Sent)


async def test_consumers_that_wait_have_a_connection_each_and_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    count = 200
    toml = '[bus]\nname = "many"\n' + "".join(f"[queues.q{number}]\n" for number in range(count))
    with lab(toml, monkeypatch) as many:
        async with Way(many.server) as way, many.driver(endpoint=way.url) as driver:
            consumers = [
                await driver.open_consumer(many.entity(f"q{number}"), prefetch=1, concurrency=1)
                for number in range(count)
            ]
            before = threading.active_count()
            receiving = [asyncio.create_task(each.receive_batch(10, wait=20)) for each in consumers]
            for number in range(count):
                await many.polls(many.entity(f"q{number}").address, 1)
            assert way.connections == count
            assert threading.active_count() <= before + 4  # those that ask botocore, once for each queue
            many.clock.advance(16)
            assert await asyncio.gather(*receiving) == [[]] * count
            again = [asyncio.create_task(each.receive_batch(10, wait=20)) for each in consumers]
            for number in range(count):
                await many.polls(many.entity(f"q{number}").address, 1)
            assert way.connections == count
            many.clock.advance(16)
            await asyncio.gather(*again)


async def test_a_poll_that_nobody_waits_for_gives_back_though_everything_is_closed(shop: Lab) -> None:
    address = shop.entity("jobs").address
    async with shop.driver() as other:
        async with shop.driver() as driver:
            consuming = await driver.open_consumer(shop.entity("jobs"), prefetch=10, concurrency=1)
            receiving = asyncio.create_task(consuming.receive_batch(10, wait=20))
            await shop.polls(address, 1)
            receiving.cancel()
            await asyncio.wait([receiving])
        assert isinstance(await publish(shop, other), Sent)
        again = await other.open_consumer(shop.entity("jobs"), prefetch=10, concurrency=1)
        assert bodies(await again.receive_batch(10, wait=20)) == ["x"]


def test_a_driver_may_be_used_by_one_loop_after_another(shop: Lab) -> None:
    driver = AwsDriver(
        msgspec.structs.replace(shop.binding, settings={**shop.binding.settings, "client": "lean"}), shop.clock
    )

    async def use(body: str) -> None:
        assert isinstance(await publish(shop, driver, body=body), Sent)
        driver._clients._lean.discard()  # type: ignore[union-attr]
        await asyncio.sleep(0)

    for body in ("1", "2"):
        asyncio.run(use(body))
    asyncio.run(driver.aclose())
    assert shop.counts(shop.entity("jobs").address) == (2, 0)


@asynccontextmanager
async def answering(said: bytes) -> AsyncIterator[str]:
    """Answer every request by the same bytes, and close its connection."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            [length] = [
                line.partition(b":")[2] for line in head.split(b"\r\n") if line.lower().startswith(b"content-len")
            ]
            await reader.readexactly(int(length))
            writer.write(said)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"no HTTP at all\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"",
    ],
)
@BOTH
async def test_what_is_no_answer_is_tried_again(shop: Lab, client: str, said: bytes) -> None:
    async with answering(said) as url, shop.driver(endpoint=url, client=client) as driver:
        found = await publish(shop, driver)
        assert isinstance(found, Fault)
        assert found.retryable, found


# Meanings -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("RequestThrottled", 403),
        ("ThrottlingException", 400),
        ("OverLimit", 403),
        ("KmsThrottled", 400),
        ("KmsDisabled", 400),
        ("QueueDoesNotExist", 400),
        ("AWS.SimpleQueueService.NonExistentQueue", 400),
        ("AccessDenied", 403),
        ("InvalidSignatureException", 403),
        ("SignatureDoesNotMatch", 403),
        ("ExpiredToken", 403),
        ("InvalidClientTokenId", 403),
        ("InternalError", 500),
        ("ServiceUnavailable", 503),
        ("SomethingNew", 400),
        ("SomethingNew", 500),
        ("", 0),
    ],
)
async def test_what_is_refused_means_the_same_by_either_client(shop: Lab, code: str, status: int) -> None:
    for target, operation in (("jobs", "SendMessageBatch"), ("orders", "PublishBatch")):
        found = []
        for client in ("lean", "boto3"):
            async with shop.driver(client=client) as driver:
                assert isinstance(await publish(shop, driver, target), Sent)
                shop.server.fail_next(operation, code, status)
                found.append(await publish(shop, driver, target))
        assert isinstance(found[0], Fault)
        assert found[0] == found[1]


@BOTH
async def test_a_clock_that_is_wrong_is_named(shop: Lab, client: str) -> None:
    body = b'{"__type":"com.amazon.coral.service#InvalidSignatureException","message":"Signature expired"}'
    lines = ["HTTP/1.1 403 Forbidden", "Date: Thu, 01 Jan 2026 00:00:00 GMT", f"Content-Length: {len(body)}", "", ""]
    async with answering("\r\n".join(lines).encode() + body) as url, shop.driver(endpoint=url, client=client) as driver:
        found = await publish(shop, driver)
        assert isinstance(found, Fault)
        assert (found.kind, found.code) == (FaultKind.UNAUTHENTICATED, "InvalidSignatureException")
        assert "ahead of AWS's" in found.detail


async def test_a_message_that_was_damaged_on_its_way_is_given_back(shop: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    async with shop.driver() as driver:
        assert isinstance(await publish(shop, driver), Sent)
        consuming = await driver.open_consumer(shop.entity("jobs"), prefetch=10, concurrency=1)
        with monkeypatch.context() as patch:
            patch.setattr(codec, "_md5", lambda data: "0" * 32)
            [error] = await asyncio.gather(consuming.receive_batch(10, wait=0), return_exceptions=True)
            assert isinstance(error, Exception)
            assert driver.fault(error).kind is FaultKind.UNAVAILABLE
            assert "MD5OfBody" in driver.fault(error).detail
        await shop.until(shop.entity("jobs").address, (1, 0))
        assert await receive(shop, driver) == ["x"]
        with monkeypatch.context() as patch:
            patch.setattr(codec, "_md5", lambda data: "0" * 32)
            found = await publish(shop, driver)
        assert isinstance(found, Fault)
        assert (found.kind, found.code) == (FaultKind.UNAVAILABLE, "BadDigest")


# Left to boto3 --------------------------------------------------------------------------------------------------------


def test_a_client_that_is_none_is_refused(shop: Lab) -> None:
    binding = msgspec.structs.replace(shop.binding, settings={"client": "curl"})
    with pytest.raises(BindingError, match=r"settings\.client: 'curl'; allowed: lean, boto3"):
        AwsDriver(binding, shop.clock)


@asynccontextmanager
async def left(shop: Lab, caplog: pytest.LogCaptureFixture, reason: str) -> AsyncIterator[AwsDriver]:
    """Use a driver that leaves all calls to boto3, and says why, once."""
    caplog.set_level(logging.INFO, "polybus")
    settings = {**shop.binding.settings, "client": "lean"}
    driver = AwsDriver(msgspec.structs.replace(shop.binding, settings=settings), shop.clock)
    try:
        yield driver
        for target in ("jobs", "jobs", "orders"):
            assert isinstance(await publish(shop, driver, target), Sent)
        assert await receive(shop, driver) == ["x", "x"]
        assert not driver._clients.lean
        [line] = [each.getMessage() for each in caplog.records if "made by boto3" in each.getMessage()]
        assert reason in line
    finally:
        await driver.aclose()


@pytest.mark.parametrize(
    ("owner", "name"),
    [(botocore.client.BaseClient, "_make_api_call"), (botocore.httpsession.URLLib3Session, "send")],
)
async def test_who_replaces_boto3_s_calls_sees_all_of_them(
    shop: Lab, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, owner: type, name: str
) -> None:
    real = getattr(owner, name)
    seen: list[Any] = []

    def traced(self: Any, *arguments: Any, **named: Any) -> Any:
        seen.append(arguments)
        return real(self, *arguments, **named)

    monkeypatch.setattr(owner, name, traced)
    async with left(shop, caplog, name):
        pass
    assert len(seen) >= 4


async def test_who_looks_at_boto3_s_requests_sees_all_of_them(shop: Lab, caplog: pytest.LogCaptureFixture) -> None:
    seen: list[str] = []

    def look(request: Any, **_: Any) -> None:
        seen.append(request.url)

    async with left(shop, caplog, "before they are sent") as driver:
        client = await driver._clients.get("sqs")
        client.meta.events.register("before-send.sqs", look)
    assert len(seen) >= 3


async def test_what_an_event_handler_changes_is_boto3_s_to_send(shop: Lab, caplog: pytest.LogCaptureFixture) -> None:
    def change(params: dict[str, Any], **_: Any) -> None:
        body = params["body"]
        params["body"] = body.replace(b'"SentTimestamp"', b'"SequenceNumber", "SentTimestamp"')

    async with left(shop, caplog, "something changes what ReceiveMessage is called with") as driver:
        client = await driver._clients.get("sqs")
        client.meta.events.register("before-call.sqs.ReceiveMessage", change)
        consuming = await driver.open_consumer(shop.entity("jobs"), prefetch=10, concurrency=1)
        assert await consuming.receive_batch(10, wait=0) == []


async def test_headers_that_an_event_handler_adds_are_sent(shop: Lab) -> None:
    def add(request: Any, **_: Any) -> None:
        request.headers["X-Ours"] = "1"

    async with shop.driver() as driver:
        client = await driver._clients.get("sqs")
        client.meta.events.register("before-sign.sqs", add)
        assert isinstance(await publish(shop, driver), Sent)
        way = driver._clients._services[client]
        [made] = way._calls.values()
        sent = made.template.request(b"", await way.keys(), 0.0)
        assert b"X-Ours: 1\r\n" in sent
        assert b"x-amzn-query-mode;x-ours," in sent


async def test_a_proxy_by_tls_is_boto3_s(
    shop: Lab, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("http_proxy", "https://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    caplog.set_level(logging.INFO, "polybus")
    settings = {**shop.binding.settings, "client": "lean", "endpoint": "http://sqs.example.test"}
    driver = AwsDriver(msgspec.structs.replace(shop.binding, settings=settings), shop.clock)
    found = await publish(shop, driver)
    await driver.aclose()
    assert isinstance(found, Fault)
    assert found.kind is FaultKind.UNAVAILABLE
    assert "the proxy is reached by https" in caplog.text


async def test_certificates_that_cant_be_read_are_boto3_s_to_complain_of(
    shop: Lab, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "none.pem"))
    caplog.set_level(logging.INFO, "polybus")
    settings = {**shop.binding.settings, "client": "lean", "endpoint": None}
    driver = AwsDriver(msgspec.structs.replace(shop.binding, settings=settings), shop.clock)
    found = await publish(shop, driver)
    await driver.aclose()
    assert isinstance(found, Fault)
    assert "its certificates can't be read" in caplog.text
