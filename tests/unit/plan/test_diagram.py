"""Diagrams: everything that is declared is in them, in text that their readers accept."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest

from polybus.plan.diagram import mermaid, svg
from polybus.plan.graph import graph_of
from polybus.plan.layout import lay_out
from polybus.topology.file import loads

SHOP = loads(
    """
[bus]
name = "shop"
[topics.orders]
ordered = true
[topics.training]
[topics.unused]
[subscriptions.billing]
topic = "orders"
filter = 'region in ("eu", "<b>&#") and not exists(test)'
[subscriptions.audit]
topic = "orders"
tap = true
[subscriptions.mail]
topic = "training"
push = { email = "ops@example.com" }
[queues.jobs]
max_delay = "15m"
[services.checkout]
publishes = ["orders", "jobs"]
[services.worker]
publishes = ["training"]
consumes = ["billing", "jobs"]
""",
    source="x",
)
EMPTY = loads('[bus]\nname = "empty"\n', source="x")
QUEUE = loads('[bus]\nname = "q"\n[queues.only]\n[services.s]\npublishes = ["only"]\nconsumes = ["only"]\n', source="x")


def texts(document: str) -> list[str]:
    root = ET.fromstring(document)
    return [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")]


def test_an_svg_shows_every_entry_its_filter_and_its_dead_letters() -> None:
    shown = texts(svg(SHOP))
    for word in ("orders", "training", "unused", "billing", "audit", "mail", "jobs", "checkout", "worker"):
        assert word in shown
    assert "ops@example.com" in shown
    assert "topic · ordered" in shown
    assert "queue · delay to 15m · 1m lease" in shown
    assert shown.count("dead letters after 5 attempts") == 3
    assert shown.count("worker") == 2
    assert any(text.startswith('region in ("eu", "<b>&#")') for text in shown)


@pytest.mark.parametrize(
    ("push", "details", "letters"),
    [
        ('email = "ops@example.com"', "subscription", "dead letters"),
        ('function = "billing"', "subscription", "dead letters"),
        ('https = "https://example.com/x"', "subscription", "dead letters after 5 attempts"),
        (None, "subscription · 1m lease", "dead letters after 5 attempts"),
    ],
)
def test_what_a_cloud_delivers_itself_has_no_lease_and_only_attempts_that_are_set(
    push: str | None, details: str, letters: str
) -> None:
    text = '[bus]\nname = "x"\n[topics.t]\n[subscriptions.s]\ntopic = "t"\n' + (
        f"push = {{ {push} }}\n" if push else ""
    )
    (node,) = [node for node in graph_of(loads(text, source="x")).nodes if node.title == "s"]
    assert (node.details, node.dead_letters) == (details, letters)


def test_an_svg_has_an_edge_for_each_relation() -> None:
    assert svg(SHOP).count('class="edge"') == len(graph_of(SHOP).edges) == 9


@pytest.mark.parametrize("topology", [SHOP, EMPTY, QUEUE])
def test_nothing_overlaps_and_all_is_on_the_page(topology: object) -> None:
    layout = lay_out(graph_of(topology))  # type: ignore[arg-type]
    boxes = list(layout.boxes.values())
    for at, box in enumerate(boxes):
        assert box.x >= 0
        assert box.y >= 0
        assert box.x + box.width <= layout.width
        assert box.y + box.height <= layout.height
        for other in boxes[at + 1 :]:
            apart_x = box.x + box.width <= other.x or other.x + other.width <= box.x
            apart_y = box.y + box.height <= other.y or other.y + other.height <= box.y
            assert apart_x or apart_y, (box, other)


@pytest.mark.parametrize("topology", [SHOP, EMPTY, QUEUE])
def test_an_svg_is_well_formed_and_the_same_every_time(topology: object) -> None:
    document = svg(topology)  # type: ignore[arg-type]
    assert ET.fromstring(document).tag == "{http://www.w3.org/2000/svg}svg"
    assert document == svg(topology)  # type: ignore[arg-type]


def test_mermaid_shows_every_entry_and_a_service_once() -> None:
    text = mermaid(SHOP)
    assert text.startswith("flowchart LR\n")
    assert text.count('"worker"') == 1
    assert text.count(" --> ") + text.count(" -->|") == 9
    assert text.count("-.->") == 4
    assert "orders<br/><small>topic · ordered</small>" in text


def test_mermaid_escapes_what_it_would_read_as_its_own() -> None:
    labels = re.findall(r'\|"(.*?)"\|', mermaid(SHOP))
    assert labels == ["region in (#quot;eu#quot;, #quot;#lt;b#gt;#amp;#35;#quot;) and not exists(test)"]
