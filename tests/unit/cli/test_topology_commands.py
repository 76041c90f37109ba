"""`polybus check`, `plan` and `diagram`: they read a topology and ask nothing of a cloud."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path

import pytest

GOOD = '[bus]\nname = "shop"\n\n[topics.orders]\n\n[subscriptions.billing]\ntopic = "orders"\n'


@pytest.fixture
def good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "polybus.toml").write_text(GOOD)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_check_says_ok_for_each_cloud(cli: Callable, good: Path) -> None:
    result = cli("check", "--no-notes")
    assert result.code == 0
    assert result.out == "aws: ok\nazure: ok\ngcp: ok\n"


def test_check_names_place_limit_and_what_works(cli: Callable, shop) -> None:
    result = cli("check", "--cloud", "gcp")
    assert result.code == 1
    assert "error at $.queues.jobs.max_delay: 15m; Pub/Sub has no delay" in result.out
    assert "instead: " in result.out
    assert "refused by gcp" in result.err
    assert cli("check", "--cloud", "aws").code == 0


def test_check_as_json_is_pure(cli: Callable, shop) -> None:
    result = cli("check", "--json")
    found = result.json()
    assert result.code == 1
    assert found["ok"] is False
    assert found["clouds"]["aws"]["ok"] is True
    [error] = [it for it in found["clouds"]["gcp"]["findings"] if it["severity"] == "error"]
    assert error["path"] == "$.queues.jobs.max_delay"
    assert result.err == ""


def test_the_topology_is_found_upward(cli: Callable, good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = good / "a" / "b"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    assert cli("check", "--json").json()["topology"] == str(good / "polybus.toml")


def test_without_a_topology_it_says_what_to_do(cli: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = cli("check")
    assert result.code == 1
    assert f"there is no polybus.toml in {tmp_path} or above" in result.err.replace("\n", " ")
    assert "polybus init" in result.err


def test_plan_lists_what_the_embedded_store_holds(cli: Callable, good: Path) -> None:
    result = cli("plan", "--cloud", "local", "--json")
    assert result.code == 0
    resources = result.json()["plans"]["local"]["resources"]
    assert [(found["kind"], found["physical"]) for found in resources] == [
        ("topic", "orders"),
        ("subscription", "billing"),
        ("dead letters", "billing-dead-letters"),
    ]
    table = cli("plan", "--cloud", "local").out
    assert "local: 3 resources" in table
    assert "billing-dead-letters" in table


def test_plan_names_what_each_cloud_would_hold(cli: Callable, good: Path) -> None:
    result = cli("plan", "--stack", "dev", "--json")
    assert result.code == 0
    plans = result.json()["plans"]
    assert list(plans) == ["local", "aws", "azure", "gcp"]
    assert "shop-dev-orders" in {row["physical"] for row in plans["aws"]["resources"]}
    assert "shop-dev-billing" in {row["physical"] for row in plans["gcp"]["resources"]}


def test_plan_shows_the_others_where_a_cloud_refuses(cli: Callable, shop) -> None:
    result = cli("plan")
    assert result.code == 1
    assert "aws: " in result.out
    assert "gcp: " not in result.out
    assert "at $.queues.jobs.max_delay: gcp" in result.err
    found = cli("plan", "--json").json()
    assert list(found["refused"]) == ["gcp"]


SERVICES = """
[services.shop]
publishes = ["orders"]
[services.billing]
consumes = ["billing"]
operates = ["billing"]
[services.idle]
"""
DOCUMENTED = {
    "type", "name", "kind", "entry", "physical", "properties", "references", "after", "keeps_messages", "stays"
}  # fmt: skip


@pytest.mark.parametrize("cloud", ["aws", "azure", "gcp", "local"])
def test_plan_as_json_is_whole_and_typed(cli: Callable, good: Path, cloud: str) -> None:
    (good / "polybus.toml").write_text(GOOD + SERVICES)
    found = cli("plan", "--cloud", cloud, "--json").json()
    assert found["format"] == 1
    resources = found["plans"][cloud]["resources"]
    names = {one["name"] for one in resources}
    assert len(names) == len(resources)
    for one in resources:
        assert one.keys() == DOCUMENTED
        assert {reference["resource"] for reference in one["references"]} <= names
    assert "…" not in json.dumps(found, ensure_ascii=False)


def test_plan_as_json_has_numbers_policies_and_references(cli: Callable, good: Path) -> None:
    resources = {one["name"]: one for one in cli("plan", "--json").json()["plans"]["aws"]["resources"]}
    queue = resources["billing-queue"]
    assert queue["type"] == "aws:sqs/queue:Queue"
    assert queue["properties"]["visibility_timeout_seconds"] == 60
    assert queue["properties"]["sqs_managed_sse_enabled"] is True
    policy = resources["billing-queue-access"]["properties"]["policy"]["$json"]
    [allow, deny] = policy["Statement"]
    assert allow["Condition"] == {
        "ArnEquals": {"aws:SourceArn": {"$ref": {"resource": "orders-topic", "output": "arn"}}}
    }
    assert deny["Effect"] == "Deny"
    assert {"property": "policy", "resource": "orders-topic", "output": "arn"} in resources["billing-queue-access"][
        "references"
    ]


@pytest.mark.parametrize(
    ("cloud", "may", "on"),
    [
        ("aws", "sns:Publish", "shop-orders"),
        ("azure", "Azure Service Bus Data Sender", "shop-orders"),
        ("gcp", "roles/pubsub.publisher", "shop-orders"),
    ],
)
def test_plan_shows_what_every_service_may_do(cli: Callable, good: Path, cloud: str, may: str, on: str) -> None:
    (good / "polybus.toml").write_text(GOOD + SERVICES)
    shown = cli("plan", "--cloud", cloud).out
    assert f"{cloud}: rights" in shown
    assert re.search(rf"shop +{re.escape(may)} +{on} ", shown), shown
    rights = cli("plan", "--cloud", cloud, "--json").json()["plans"][cloud]["rights"]
    assert list(rights) == ["shop", "billing", "idle"]
    assert rights["idle"] == []
    [publishes] = rights["shop"]
    assert publishes["may"] == [may]
    assert publishes["on"][0]["$ref"]["resource"] == "orders-topic"


def test_plan_cuts_long_settings_unless_all_is_asked_for(cli: Callable, good: Path) -> None:
    assert "…" in cli("plan", "--cloud", "aws").out
    assert "…" not in cli("plan", "--cloud", "aws", "--full").out


def test_diagram_is_mermaid_or_svg(cli: Callable, shop, tmp_path: Path) -> None:
    assert cli("diagram").out.startswith("flowchart LR\n")
    assert cli("diagram", "-o", tmp_path / "shop.svg").code == 0
    assert ElementTree.parse(tmp_path / "shop.svg").getroot().tag.endswith("svg")
    assert cli("diagram", "--format", "svg").out == (tmp_path / "shop.svg").read_text()
    assert cli("diagram", "-o", tmp_path / "shop.mmd").code == 0
    assert (tmp_path / "shop.mmd").read_text() == cli("diagram").out


def test_diagram_writes_no_mermaid_into_what_is_named_a_picture(cli: Callable, shop, tmp_path: Path) -> None:
    refused = cli("diagram", "-o", tmp_path / "shop.png")
    assert (refused.code, refused.out) == (2, "")
    assert ".png is not drawn; name it .svg or .mmd, or give --format" in " ".join(refused.err.split())
    assert not (tmp_path / "shop.png").exists()
    assert cli("diagram", "-o", tmp_path / "shop.png", "--format", "mermaid").code == 0
