"""`polybus route`: which subscriptions would get a message."""

from __future__ import annotations

from collections.abc import Callable


def test_it_says_who_gets_a_message_and_by_which_filter(cli: Callable, shop) -> None:
    found = cli("route", "orders", "-a", "region=eu", "--json")
    assert found.code == 0
    assert found.json() == {
        "topic": "orders",
        "attributes": {"region": "eu"},
        "subscriptions": [
            {"subscription": "billing", "filter": 'region == "eu"', "gets": True},
            {"subscription": "watch", "filter": "", "gets": True},
        ],
    }
    other = {one["subscription"]: one["gets"] for one in cli("route", "orders", "--json").json()["subscriptions"]}
    assert other == {"billing": False, "watch": True}
    assert "none: everything" in cli("route", "orders").out


def test_nobody_is_exit_code_1_and_a_slip_is_named(cli: Callable, shop) -> None:
    text = shop.topology.read_text()
    shop.topology.write_text(text[: text.index("[subscriptions.watch]")])
    found = cli("route", "orders", "-a", "Region=eu")
    assert found.code == 1
    assert found.err == "polybus: no filter asks for Region; did you mean region?\n"


def test_a_topic_that_is_none_is_refused_with_the_nearest(cli: Callable, shop) -> None:
    assert "no topic 'order'; there are: orders; did you mean orders?" in cli("route", "order").err
