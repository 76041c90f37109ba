"""`polybus dead-letter`."""

from __future__ import annotations

import json
from collections.abc import Callable


def test_list_and_show(cli: Callable, shop) -> None:
    [id] = shop.bury("jobs", {"total": 1})
    listed = cli("dead-letter", "list", "jobs")
    for part in (id, "Poison", "it can't be read", '{"total":1}'):
        assert part in listed.out
    [letter] = cli("dead-letter", "list", "jobs", "--json").json()
    assert (letter["id"], letter["body"], letter["reason"]) == (id, {"total": 1}, "Poison")
    shown = cli("dead-letter", "show", "jobs", id[:8])
    assert "Poison" in shown.out
    assert shown.out.endswith('{"total":1}\n')
    assert cli("dead-letter", "show", "jobs", id, "--json").json() == letter
    assert shop.dead("jobs") == 1


def test_list_of_none(cli: Callable, shop) -> None:
    result = cli("dead-letter", "list", "jobs")
    assert (result.code, result.out, result.err) == (0, "", "no dead letters in jobs\n")
    assert cli("dead-letter", "list", "jobs", "--json").json() == []


def test_list_shows_at_most_so_many(cli: Callable, shop) -> None:
    ids = shop.bury("jobs", *(f"job {n}" for n in range(150)))
    listed = cli("dead-letter", "list", "jobs", "--json", "--limit", "120").json()
    assert [letter["id"] for letter in listed] == ids[:120]


def test_an_id_that_is_none_or_several(cli: Callable, shop) -> None:
    shop.bury("jobs", "a", "b")
    result = cli("dead-letter", "show", "jobs", "nothing-like-it")
    assert result.code == 1
    assert "jobs has no dead letter 'nothing-like-it'" in result.err
    result = cli("dead-letter", "redrive", "jobs", "--id", "")
    assert result.code == 1
    assert "2 dead letters that begin with ''" in result.err
    assert shop.dead("jobs") == 2


def test_redrive_puts_all_back(cli: Callable, shop) -> None:
    ids = shop.bury("jobs", *(f"job {n}" for n in range(120)))
    result = cli("dead-letter", "redrive", "jobs", "--yes", "--json")
    assert result.json() == {"redriven": 120}
    assert {message.id for message in shop.take("jobs", 120)} == set(ids)
    assert shop.dead("jobs") == 0


def test_redrive_of_one_with_a_new_body(cli: Callable, shop) -> None:
    first, second = shop.bury("jobs", "a", "b")
    result = cli("dead-letter", "redrive", "jobs", "--id", second[:12], "--set-body", '{"total": 2}')
    assert (result.code, result.err) == (0, "put back 1 to jobs\n")
    [message] = shop.take("jobs", 1)
    assert (message.id, message.body, message.content_type) == (second, b'{"total": 2}', "application/json")
    [letter] = cli("dead-letter", "list", "jobs", "--json").json()
    assert letter["id"] == first


def test_redrive_with_a_body_from_a_file(cli: Callable, shop) -> None:
    [id] = shop.bury("jobs", "a")
    (shop.folder / "mended").write_bytes(b"\xff\x00")
    assert cli("dead-letter", "redrive", "jobs", "--id", id, "--edit-body", "mended").code == 0
    assert shop.take("jobs", 1)[0].body == b"\xff\x00"


def test_redrive_with_a_file_that_is_not_there_moves_nothing(cli: Callable, shop) -> None:
    [id] = shop.bury("jobs", "a")
    result = cli("dead-letter", "redrive", "jobs", "--id", id, "--edit-body", "missing")
    assert (result.code, result.err) == (1, "polybus: missing: No such file or directory\n")
    assert shop.dead("jobs") == 1


def test_redrive_of_at_most_so_many(cli: Callable, shop) -> None:
    shop.bury("jobs", *"abc")
    assert cli("dead-letter", "redrive", "jobs", "--limit", "2", "--json").json() == {"redriven": 2}
    assert (shop.waiting("jobs"), shop.dead("jobs")) == (2, 1)


def test_redrive_reaches_its_own_subscription_alone(cli: Callable, shop) -> None:
    async def bury(bus) -> None:
        await bus.publish("orders", "x", attributes={"region": "eu"})
        async with bus.consume("billing") as deliveries:
            await (await anext(aiter(deliveries))).dead_letter("Poison")

    shop.call(bury)
    assert cli("dead-letter", "redrive", "billing", "--yes").code == 0
    assert (shop.waiting("billing"), shop.waiting("watch")) == (1, 1)


def test_redrive_of_all_asks(cli: Callable, shop) -> None:
    shop.bury("jobs", "a")
    result = cli("dead-letter", "redrive", "jobs")
    assert result.code == 2
    assert "--yes" in result.err
    assert shop.dead("jobs") == 1


def test_purge_asks(cli: Callable, shop) -> None:
    shop.bury("jobs", "a")
    result = cli("dead-letter", "purge", "jobs")
    assert result.code == 2
    assert "--yes" in result.err
    assert shop.dead("jobs") == 1
    assert cli("dead-letter", "purge", "jobs", "--yes", "--json").json() == {"purged": 1}
    assert shop.dead("jobs") == 0


def test_of_a_topic_or_of_nothing(cli: Callable, shop) -> None:
    for name in ("orders", "nothing"):
        result = cli("dead-letter", "list", name)
        assert result.code == 1
        assert repr(name) in result.err
        assert result.err.count("\n") == 1


def test_a_body_that_is_not_what_it_says_is_shown_as_it_is(cli: Callable, shop) -> None:
    line = json.dumps({"body": '{"total": ', "content_type": "application/json"}).encode()
    assert cli("publish", "jobs", "--file", "-", stdin=line).code == 0

    async def bury(bus) -> None:
        async with bus.consume("jobs") as deliveries:
            await (await anext(aiter(deliveries))).dead_letter("Poison")

    shop.call(bury)
    [letter] = cli("dead-letter", "list", "jobs", "--json").json()
    assert letter["body"] == '{"total": '
