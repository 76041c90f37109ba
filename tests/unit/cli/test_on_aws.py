"""The commands on AWS: against what `polybus local up --cloud aws` started, as a developer has it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .conftest import TOPOLOGY, Shop


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A local AWS in a process of its own; gives the environment that leads to it."""
    folder = tmp_path_factory.mktemp("aws")
    (folder / "polybus.toml").write_text(TOPOLOGY)
    polybus = [sys.executable, "-m", "polybus.cli.main", "local"]

    def run(*arguments: str) -> str:
        done = subprocess.run([*polybus, *arguments], cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("up", "--cloud", "aws", "--background")
    yield json.loads(run("env", "--json"))
    run("down")
    assert {path.name for path in folder.iterdir()} == {"polybus.toml"}


@pytest.fixture
def aws(cloud: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Shop:
    """A shop on it, where the queues are as the test before left them."""
    for name, value in cloud.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    shop = Shop(tmp_path)
    shop.topology = Path(cloud["POLYBUS_BINDING"])
    return shop


def test_plan_names_what_is_there(cli: Callable, aws: Shop, cloud: dict[str, str]) -> None:
    import boto3

    (aws.folder / "polybus.toml").write_text(TOPOLOGY)
    rows = cli("plan", "--cloud", "aws", "--json").json()["plans"]["aws"]["resources"]
    sqs = boto3.client("sqs")
    there = {url.rsplit("/", 1)[1] for url in sqs.list_queues()["QueueUrls"]}
    sqs.close()
    assert len(there) == 8  # of two subscriptions and two queues, and of the dead letters of each
    assert there <= {row["physical"] for row in rows}


def test_check_and_diagram(cli: Callable, aws: Shop) -> None:
    (aws.folder / "polybus.toml").write_text(TOPOLOGY)
    assert cli("check", "--cloud", "aws", "--json").json()["ok"] is True
    assert "billing" in cli("diagram").out


def test_publish_filters_and_stats(cli: Callable, aws: Shop) -> None:
    before = cli("stats", "billing", "--json").json()["billing"]["waiting"]
    for region in ("eu", "us"):
        published = cli("publish", "orders", '{"total": 1}', "--attribute", f"region={region}")
        assert published.code == 0, published.err
    found = cli("stats", "billing", "--json").json()["billing"]
    assert found["waiting"] == before + 1
    assert found["dead"] == 0


def test_publish_of_lines_with_keys(cli: Callable, aws: Shop) -> None:
    lines = "".join(json.dumps({"body": n, "ordering_key": f"k{n % 3}"}) + "\n" for n in range(25))
    (aws.folder / "lines.jsonl").write_text(lines)
    published = cli("publish", "keyed", "--file", "lines.jsonl")
    assert published.code == 0, published.err
    taken = [(message.ordering_key, json.loads(message.body)) for message in aws.take("keyed", 25)]
    for key in ("k0", "k1", "k2"):
        mine = [body for found, body in taken if found == key]
        assert mine == sorted(mine)
    assert len(taken) == 25


def test_tail_reads_the_tap_and_takes_nothing_from_consumers(cli: Callable, aws: Shop) -> None:
    cli("tail", "orders", "--wait", "1s")  # what other tests left there
    before = cli("stats", "billing", "--json").json()["billing"]["waiting"]
    cli("publish", "orders", "look", "--attribute", "region=eu")
    tailed = cli("tail", "orders", "--json", "--wait", "1s")
    assert [json.loads(line)["body"] for line in tailed.out.splitlines()] == ["look"]
    assert "watch, the tap of orders" in tailed.err
    assert cli("stats", "billing", "--json").json()["billing"]["waiting"] == before + 1


def test_tail_of_what_others_consume_is_refused(cli: Callable, aws: Shop) -> None:
    result = cli("tail", "jobs")
    assert (result.code, result.out) == (1, "")
    assert "aws has no PEEK" in result.err
    assert "tap = true" in result.err


def test_dead_letters_are_listed_shown_mended_and_put_back(cli: Callable, aws: Shop) -> None:
    first, second = aws.bury("jobs", {"total": 1}, {"total": 2})
    for _ in range(2):  # a look takes nothing
        assert {letter["id"] for letter in cli("dead-letter", "list", "jobs", "--json").json()} == {first, second}
    shown = cli("dead-letter", "show", "jobs", first[:12], "--json").json()
    assert (shown["body"], shown["reason"], shown["description"]) == ({"total": 1}, "Poison", "it can't be read")
    assert cli("stats", "jobs", "--json").json()["jobs"]["dead"] == 2
    mended = cli("dead-letter", "redrive", "jobs", "--id", second, "--set-body", '{"total": 3}', "--json")
    assert mended.json() == {"redriven": 1}
    [message] = aws.take("jobs", 1)
    assert (message.id, message.body) == (second, b'{"total": 3}')
    assert cli("dead-letter", "purge", "jobs", "--yes").code == 0
    assert cli("dead-letter", "list", "jobs", "--json").json() == []


def test_dead_letters_of_a_fifo_queue(cli: Callable, aws: Shop) -> None:
    cli("publish", "keyed", "late", "--key", "k")

    async def bury(bus) -> None:
        async with bus.consume("keyed") as deliveries:
            await (await anext(aiter(deliveries))).dead_letter("Poison")

    aws.call(bury)
    [letter] = cli("dead-letter", "list", "keyed", "--json").json()
    assert (letter["body"], letter["ordering_key"]) == ("late", "k")
    assert cli("dead-letter", "redrive", "keyed", "--yes", "--json").json() == {"redriven": 1}
    assert [message.ordering_key for message in aws.take("keyed", 1)] == ["k"]


# Bad input


def refused(result, *parts: str, lines: int = 1) -> None:
    """Assert one clear error, and no traceback."""
    assert (result.code, result.out) == (1, "")
    assert "Traceback" not in result.err
    assert len(result.err.splitlines()) == lines, result.err
    for part in parts:
        assert part in result.err, result.err


def test_no_credentials(cli: Callable, aws: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(aws.folder / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    refused(cli("stats", "jobs"), "Unable to locate credentials", "check the credentials that boto3 finds")
    refused(cli("publish", "jobs", "x"), "Unable to locate credentials", "1 not published", lines=2)


def test_an_endpoint_that_nobody_is_behind(cli: Callable, aws: Shop) -> None:
    binding = json.loads(aws.topology.read_text())
    binding["settings"]["endpoint"] = "http://127.0.0.1:9"
    (aws.folder / "polybus.binding.json").write_text(json.dumps(binding))
    refused(cli("stats", "jobs", "--binding", "polybus.binding.json"), "http://127.0.0.1:9", "AWS_ENDPOINT_URL")


def test_a_queue_that_is_gone(cli: Callable, aws: Shop) -> None:
    binding = json.loads(aws.topology.read_text())
    binding["queues"]["jobs"]["address"] += "-gone"
    (aws.folder / "polybus.binding.json").write_text(json.dumps(binding))
    gone = ("does not exist", "shop-jobs-gone", "pulumi stack output")
    refused(cli("stats", "jobs", "--binding", "polybus.binding.json"), *gone)
    refused(cli("publish", "jobs", "x", "--binding", "polybus.binding.json"), *gone, lines=2)
