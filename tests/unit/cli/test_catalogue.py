"""`polybus catalogue` and `polybus export asyncapi`: what other teams are told of a topology."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from polybus.catalogue.asyncapi import asyncapi
from polybus.catalogue.page import page
from polybus.contracts.payload import Payload
from polybus.topology.file import loads
from polybus.topology.model import digest

SHOP = """\
[bus]
name = "shop"

[topics.orders]
description = "What customers bought, <b>once paid</b>."
owner = "team checkout"
ordered = true

[subscriptions.billing]
topic = "orders"
filter = 'region in ("eu", "uk")'
max_attempts = 3

[subscriptions.letters]
topic = "orders"
push = { https = "https://example.com/in" }

[queues.jobs]
max_delay = "5m"

[services.checkout]
publishes = ["orders", "jobs"]
owner = "team checkout"

[services.billing]
consumes = ["billing", "jobs"]
description = "Writes invoices."
"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "polybus.toml").write_text(SHOP)
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Links(HTMLParser):
    """Collects ids and what links name, and fails for tags that aren't closed."""

    VOID = ("meta", "rect", "path", "br")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.targets: set[str] = set()
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        self.ids += [given["id"] or ""] if "id" in given else []
        if tag == "a":
            self.targets.add((given["href"] or "").removeprefix("#"))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_the_page_says_who_publishes_what_and_who_reads_it(cli: Callable, shop: Path) -> None:
    result = cli("catalogue", "--output", "shop.html")
    assert (result.code, result.out) == (0, "")
    text = (shop / "shop.html").read_text()
    told = re.sub(r"\s+", " ", re.sub(r"<style>.*?</style>|<svg.*?</svg>|<[^>]+>", " ", text, flags=re.DOTALL))
    assert "Messages of shop 1 topic, 2 subscriptions, 1 queue, 2 services" in told
    assert "Owner: team checkout" in told
    assert "Published by checkout" in told
    assert "region in (&quot;eu&quot;, &quot;uk&quot;)" in told
    assert "dead letter at failed attempt 3" in told
    assert "pushed to https https://example.com/in" in told
    assert "Writes invoices." in told
    assert "up to 5m" in told


def test_the_page_shows_the_schema_of_what_has_one(cli: Callable, shop: Path) -> None:
    (shop / "order.json").write_text('{"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]}')
    (shop / "polybus.toml").write_text(SHOP.replace("[topics.orders]", '[topics.orders]\nschema = "order.json"'))
    text = cli("catalogue").out
    assert text.count("What a message holds") == 1
    assert "&quot;required&quot;: [" in text


def test_the_page_is_whole_and_takes_nothing_from_elsewhere(shop: Path) -> None:
    text = page(loads(SHOP, source="polybus.toml"))
    assert "<b>" not in text
    found = Links(text)
    assert found.targets <= set(found.ids)
    assert len(found.ids) == len(set(found.ids))
    assert "<script" not in text
    assert not re.search(r"(src|href)=\"(?!#)", text)
    assert "url(http" not in text


def test_an_empty_topology_has_a_page_too() -> None:
    assert "0 topics" in page(loads('[bus]\nname = "shop"\n', source="polybus.toml"))


def test_what_is_for_people_alone_is_no_other_topology() -> None:
    plain = re.sub(r"^(description|owner) = .*\n", "", SHOP, flags=re.MULTILINE)
    assert plain != SHOP
    assert digest(loads(plain, source="a")) == digest(loads(SHOP, source="a"))


def references(document: Any) -> Iterator[str]:
    if isinstance(document, dict):
        if "$ref" in document:
            yield document["$ref"]
        for value in document.values():
            yield from references(value)
    if isinstance(document, list):
        for value in document:
            yield from references(value)


def at(document: Any, reference: str) -> Any:
    for name in reference.removeprefix("#/").split("/"):
        document = document[name]
    return document


def test_asyncapi_has_each_right_of_each_service(cli: Callable, shop: Path) -> None:
    document = cli("export", "asyncapi").json()
    assert document["asyncapi"] == "3.0.0"
    assert list(document["channels"]) == ["orders", "jobs"]
    assert document["channels"]["orders"]["description"].startswith("What customers bought")
    actions = {name: (each["action"], each["channel"]["$ref"]) for name, each in document["operations"].items()}
    assert actions == {
        "checkout.publishes.orders": ("send", "#/channels/orders"),
        "checkout.publishes.jobs": ("send", "#/channels/jobs"),
        "billing.consumes.billing": ("receive", "#/channels/orders"),
        "billing.consumes.jobs": ("receive", "#/channels/jobs"),
    }
    assert 'filter: region in ("eu", "uk")' in document["operations"]["billing.consumes.billing"]["description"]
    assert list(document["components"]["messages"]["orders"]["headers"]["properties"]) == ["region"]
    for reference in references(document):
        assert at(document, reference)


def test_asyncapi_of_one_service_has_what_it_uses(cli: Callable, shop: Path) -> None:
    document = cli("export", "asyncapi", "--service", "billing", "--version", "2.1.0").json()
    assert document["info"] == {"title": "shop: billing", "version": "2.1.0", "description": "Writes invoices."}
    assert list(document["operations"]) == ["billing.consumes.billing", "billing.consumes.jobs"]
    refused = cli("export", "asyncapi", "--service", "biling")
    assert refused.code == 1
    assert "no service 'biling'" in refused.err
    assert "checkout, billing" in refused.err


def test_asyncapi_takes_schemas_of_bodies() -> None:
    payload = {"type": "object", "required": ["id"]}
    document = asyncapi(loads(SHOP, source="polybus.toml"), payloads={"jobs": Payload(payload)})
    assert document["components"]["messages"]["jobs"]["payload"] == payload
    assert "payload" not in document["components"]["messages"]["orders"]
