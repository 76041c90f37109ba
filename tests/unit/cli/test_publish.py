"""`polybus publish`."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest


def test_one_message_with_everything(cli: Callable, shop) -> None:
    result = cli("publish", "orders", "hello", "--attribute", "region=eu", "-a", "note=a=b")
    assert result.code == 0
    [message] = shop.take("billing", 1)
    assert result.out == f"{message.id}\n"
    assert message.body == b"hello"
    assert message.attributes == {"region": "eu", "note": "a=b"}
    assert message.content_type == "text/plain"


def test_an_ordering_key(cli: Callable, shop) -> None:
    assert cli("publish", "keyed", "x", "--key", "c7").code == 0
    assert shop.take("keyed", 1)[0].ordering_key == "c7"


def test_a_body_that_is_json_says_so(cli: Callable, shop) -> None:
    cli("publish", "jobs", '{"a": 1}')
    cli("publish", "jobs", "{not json")
    assert [message.content_type for message in shop.take("jobs", 2)] == ["application/json", "text/plain"]


def test_a_body_from_stdin_comes_as_it_is(cli: Callable, shop) -> None:
    assert cli("publish", "jobs", "-", stdin=b"\xff\x00\r\n").code == 0
    [message] = shop.take("jobs", 1)
    assert message.body == b"\xff\x00\r\n"
    assert message.content_type == "application/octet-stream"


def test_the_same_many_times(cli: Callable, shop) -> None:
    result = cli("publish", "jobs", "x", "--count", "1500", "--json")
    assert result.json()["published"] == 1500
    assert len(set(result.json()["ids"])) == 1000
    assert shop.waiting("jobs") == 1500


def test_a_delay(cli: Callable, shop) -> None:
    assert cli("publish", "jobs", "x", "--delay", "10m").code == 0
    stats = cli("stats", "jobs", "--json").json()["jobs"]
    assert (stats["waiting"], stats["delayed"]) == (0, 1)


def test_a_delay_over_what_is_declared_is_refused(cli: Callable, shop) -> None:
    result = cli("publish", "jobs", "x", "--delay", "16m")
    assert result.code == 1
    assert "max_delay" in result.err
    assert cli("publish", "orders", "x", "--delay", "1s").code == 1


def test_a_file_of_messages(cli: Callable, shop) -> None:
    lines = [
        {"body": "text", "attributes": {"n": "1"}},
        {"body": {"total": 2}},
        {"body_base64": "/wA="},
        {"body": "later", "delay": 60},
    ]
    (shop.folder / "jobs.jsonl").write_text("\n\n".join(map(json.dumps, lines)))
    result = cli("publish", "jobs", "--file", "jobs.jsonl", "--json")
    assert (result.code, result.json()["published"]) == (0, 4)
    taken = shop.take("jobs", 3)
    assert [message.body for message in taken] == [b"text", b'{"total":2}', b"\xff\x00"]
    assert taken[0].attributes == {"n": "1"}


def test_what_dead_letter_list_prints_can_be_published(cli: Callable, shop) -> None:
    shop.bury("jobs", {"total": 1}, b"\xff")
    letters = cli("dead-letter", "list", "jobs", "--json").json()
    lines = "\n".join(json.dumps(letter) for letter in letters).encode()
    assert cli("publish", "keyed", "--file", "-", stdin=lines).code == 0
    assert {message.body for message in shop.take("keyed", 2)} == {b'{"total":1}', b"\xff"}


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("{", "not JSON"),
        ("[1]", "found list, expected an object"),
        ("{}", 'expected exactly one of "body" and "body_base64"'),
        ('{"body": 1, "atributes": {}}', "unknown key 'atributes'"),
        ('{"body": 1, "attributes": {"n": 1}}', "'n' is int, expected a string"),
        ('{"body": 1, "delay": -1}', "delay: found -1"),
        ('{"body_base64": "!"}', "body_base64: not base64"),
        ('{"body": 1, "ordering_key": 7}', "ordering_key: found 7"),
    ],
)
def test_a_wrong_line_is_named_and_nothing_of_the_file_is_published(cli: Callable, shop, line: str, wrong: str) -> None:
    (shop.folder / "jobs.jsonl").write_text(f'{{"body": "good"}}\n{line}\n')
    result = cli("publish", "jobs", "--file", "jobs.jsonl")
    assert result.code == 1
    assert result.err.startswith("polybus: jobs.jsonl: at line 2: ")
    assert wrong in result.err
    assert shop.waiting("jobs") == 0


def test_what_failed_is_named_by_its_line_and_the_rest_is_published(cli: Callable, shop) -> None:
    lines = [{"body": "a"}, {"body": "b", "attributes": {"aws.x": "1"}}, {"body": "c"}]
    (shop.folder / "jobs.jsonl").write_text("\n" + "\n".join(map(json.dumps, lines)))
    result = cli("publish", "jobs", "--file", "jobs.jsonl", "--json")
    assert result.code == 1
    found = result.json()
    assert found["published"] == 2
    assert [(failed["line"], failed["kind"]) for failed in found["failed"]] == [(3, "invalid")]
    assert [message.body for message in shop.take("jobs", 2)] == [b"a", b"c"]


def test_options_of_one_message_are_refused_with_a_file(cli: Callable, shop) -> None:
    (shop.folder / "jobs.jsonl").write_text('{"body": 1}\n')
    result = cli("publish", "jobs", "--file", "jobs.jsonl", "--key", "k")
    assert result.code == 2
    assert "--key" in result.err
