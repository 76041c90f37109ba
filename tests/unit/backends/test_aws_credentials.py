"""Credentials that come late, blink, run out or are refused; and ways to the server that must not be taken."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from polybus.clouds.aws.driver.driver import AwsDriver
from polybus.clouds.aws.local import realise
from polybus.clouds.aws.plan.resources import AwsSettings, plan
from polybus.driver import Outgoing
from polybus.errors import Fault, FaultKind
from polybus.message import Message, Sent
from polybus.topology.file import loads

from .aws_lab import Lab, lab

TOPOLOGY = '[bus]\nname = "shop"\n[queues.jobs]\n[topics.orders]\n'


class _Endpoint(ThreadingHTTPServer):
    """Gives out credentials as EC2's metadata service (IMDSv2) and ECS's do; `status` is what it answers."""

    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Answers)
        self.status = 200
        self.minutes = 60
        self.given = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Answers(BaseHTTPRequestHandler):
    server: _Endpoint

    def do_PUT(self) -> None:
        self._answer("token")

    def do_GET(self) -> None:
        if self.path.rstrip("/").endswith("security-credentials"):
            return self._answer("role")
        until = (datetime.now(UTC) + timedelta(minutes=self.server.minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")
        if self.server.status == 200:
            self.server.given += 1
        keys = {"AccessKeyId": f"A{self.server.given}", "SecretAccessKey": "s", "Token": "t"}
        return self._answer(json.dumps({"Code": "Success", **keys, "Expiration": until, "LastUpdated": until}))

    def _answer(self, text: str) -> None:
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: Any) -> None:
        """Nothing to standard error."""


@contextmanager
def endpoint(port: int = 0) -> Iterator[_Endpoint]:
    with _Endpoint(port) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(params=["lean", "boto3"])
def shop(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Lab]:
    with lab(TOPOLOGY, monkeypatch) as made:
        made.client = request.param
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
            monkeypatch.setenv(name, str(tmp_path / "none"))
        yield made


async def publish(shop: Lab, driver: AwsDriver, target: str = "jobs") -> Sent | Fault:
    publisher = await driver.open_publisher(shop.entity(target))
    prepared = publisher.prepare(Outgoing(Message(b"x", {}, None, "id")))
    [outcome] = await asyncio.gather(publisher.publish_batch([prepared]), return_exceptions=True)
    if isinstance(outcome, BaseException):
        assert isinstance(outcome, Exception)
        return driver.fault(outcome)
    [sent] = outcome
    assert isinstance(sent, Sent | Fault)
    return sent


async def test_credentials_that_come_late_are_found(shop: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "false")
    with endpoint() as reserved:
        port = reserved.server_port
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", reserved.url)
    async with shop.driver() as driver:
        consuming = await driver.open_consumer(shop.entity("jobs"), prefetch=1, concurrency=1)
        for target in ("jobs", "orders"):
            found = await publish(shop, driver, target)
            assert isinstance(found, Fault)
            assert found.retryable
            assert "check the credentials" in found.detail
        with endpoint(port):
            for target in ("jobs", "orders"):
                assert isinstance(await publish(shop, driver, target), Sent)
            assert len(await consuming.receive_batch(1, wait=0)) == 1


async def test_an_endpoint_that_blinks_is_waited_for(shop: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    with endpoint() as ecs:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{ecs.url}/creds")
        ecs.minutes = 5  # boto3 fetches new ones before each call then, though these are still good
        async with shop.driver() as driver:
            assert isinstance(await publish(shop, driver), Sent)
            ecs.status = 503
            found = await publish(shop, driver)
            assert isinstance(found, Fault)
            assert found.retryable
            ecs.status = 200
            assert isinstance(await publish(shop, driver), Sent)


async def test_a_role_whose_time_is_over_gets_new_credentials(shop: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    with endpoint() as ecs:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{ecs.url}/creds")
        async with shop.driver() as driver:
            assert isinstance(await publish(shop, driver), Sent)
            given = ecs.given
            shop.server.fail_next("SendMessageBatch", "ExpiredToken", 403)
            found = await publish(shop, driver)
            assert isinstance(found, Fault)
            assert found.retryable
            assert isinstance(await publish(shop, driver), Sent)
            assert ecs.given > given


@pytest.mark.parametrize("code", ["ExpiredToken", "InvalidClientTokenId"])
async def test_keys_that_were_refused_and_are_replaced_already_are_worth_another_try(
    shop: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: str
) -> None:
    """A file that something else writes anew while the process runs: its old keys are over before it is read again."""
    file = tmp_path / "credentials"

    def write(name: str) -> None:
        file.write_text(f"[default]\naws_access_key_id = {name}\naws_secret_access_key = s\naws_session_token = t\n")

    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    write("old")
    async with shop.driver() as driver:
        assert isinstance(await publish(shop, driver), Sent)
        write("new")
        shop.server.fail_next("SendMessageBatch", code, 403)
        found = await publish(shop, driver)
        assert isinstance(found, Fault)
        assert found.retryable
        assert isinstance(await publish(shop, driver), Sent)
        shop.server.fail_next("SendMessageBatch", code, 403)
        found = await publish(shop, driver)
        assert isinstance(found, Fault)
        assert found.kind is FaultKind.UNAUTHENTICATED


async def test_keys_that_were_refused_are_final_and_replaced_ones_are_found(
    shop: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "old")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    shop.server.credentials = ["new"]
    async with shop.driver() as driver:
        for target in ("jobs", "orders"):
            found = await publish(shop, driver, target)
            assert isinstance(found, Fault)
            assert found.kind is FaultKind.UNAUTHENTICATED
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "new")
        for target in ("jobs", "orders"):
            assert isinstance(await publish(shop, driver, target), Sent)


async def test_what_runs_on_this_machine_is_not_reached_through_a_proxy(
    shop: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "local")
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for host in ("127.0.0.1", "localhost"):
        async with shop.driver(endpoint=f"http://{host}:{shop.server.port}") as driver:
            assert isinstance(await publish(shop, driver), Sent)
    planned = plan(loads('[bus]\nname = "other"\n[queues.q]\n', source="polybus.toml"), AwsSettings(region="us-east-1"))
    made = await asyncio.to_thread(realise, planned, endpoint=shop.server.url)
    assert made.queues["q"].address.endswith("other-q")
    async with shop.driver(endpoint=None) as driver:
        monkeypatch.setenv("AWS_ENDPOINT_URL", shop.server.url)
        assert isinstance(await publish(shop, driver, "orders"), Sent)


async def test_a_ping_needs_no_right_and_no_third_service(shop: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "local")
    statement = {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": "*"}
    shop.server.identities.put("local", {"Version": "2012-10-17", "Statement": [statement]})
    shop.server.fail_next("GetCallerIdentity", "", 0)
    async with shop.driver() as driver:
        admin = await driver.open_admin()
        await admin.ping()
        shop.server.credentials = ["another"]
        [error] = await asyncio.gather(admin.ping(), return_exceptions=True)
        assert isinstance(error, Exception)
        assert driver.fault(error).kind is FaultKind.UNAUTHENTICATED
