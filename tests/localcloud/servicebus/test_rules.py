"""SQL filters, correlation filters and actions, on messages as the library encodes them."""

from __future__ import annotations

from typing import Any

import pytest

from polybus.localcloud.servicebus.amqp import encode as e
from polybus.localcloud.servicebus.amqp.sections import APPLICATION, DATA, PROPERTIES
from polybus.localcloud.servicebus.entities.message import Message, parse
from polybus.localcloud.servicebus.refusal import Refusal
from polybus.localcloud.servicebus.rules.properties import View
from polybus.localcloud.servicebus.rules.rule import CompiledRule, CorrelationFilter, Rule, SqlFilter
from polybus.localcloud.servicebus.rules.values import FilterError


def message(label: str | None = None, **properties: Any) -> Message:
    fields = [e.string("id"), e.NULL, e.NULL, e.NULL if label is None else e.string(label)]
    return parse(
        e.described(PROPERTIES, e.items(fields))
        + e.described(APPLICATION, e.mapping([(e.string(key), e.scalar(value)) for key, value in properties.items()]))
        + e.described(DATA, e.binary(b"body"))
    )


def passes(sql: str, label: str | None = None, /, parameters: dict[str, Any] | None = None, **properties: Any) -> bool:
    rule = CompiledRule(Rule("r", SqlFilter(sql, parameters or {})))
    return rule.matches(View(message(label, **properties)))


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("1=1", True),
        ("1=0", False),
        ("region = 'eu'", True),
        ("region = 'EU'", False),
        ("REGION = 'eu'", True),
        ("user.region = 'eu' AND sys.Label = 'news'", True),
        ("sys.MessageId = 'id' and sys.CorrelationId IS NULL", True),
        ("region <> 'us'", True),
        ("region != 'eu'", False),
        ("n > 4 AND n <= 5 AND n >= 5 AND n < 5.5", True),
        ("n + 2 * 3 = 11", True),
        ("(n + 2) * 3 = 21", True),
        ("7 / 2 = 3 AND -7 / 2 = -3 AND -7 % 2 = -1 AND 7.0 / 2 = 3.5", True),
        ("n = 5.0", True),
        ("flag = TRUE AND flag <> false", True),
        ("region IN ('us', 'eu')", True),
        ("region NOT IN ('us', 'eu')", False),
        ("region LIKE 'e_' AND name LIKE 'a%c'", True),
        (r"name LIKE '%\%%' ESCAPE '\'", True),
        (r"name LIKE 'a\_%' ESCAPE '\'", False),
        ("region NOT LIKE 'u%'", True),
        ("EXISTS(region) AND NOT EXISTS(missing)", True),
        ("missing IS NULL AND region IS NOT NULL", True),
        ('[odd name] = 1 AND "odd name" = 1', True),
        ("quote = 'it''s'", True),
        ("'a' + 'b' = 'ab'", True),
        ("property('region') = p('REGION')", True),
        ("newid() <> newid()", True),
        ("region < 'f' AND region > 'a'", True),
        ("NOT NOT region = 'eu'", True),
        ("region = 'us' OR region = 'eu' AND n = 5", True),
        ("n = @n AND region = @R", True),
    ],
)
def test_what_a_filter_passes(sql: str, expected: bool) -> None:
    found = passes(
        sql,
        "news",
        parameters={"@n": 5, "@r": "eu"},
        region="eu",
        n=5,
        flag=True,
        name="a%bc",
        quote="it's",
        **{"odd name": 1},
    )
    assert found is expected


@pytest.mark.parametrize(
    "sql",
    [
        "missing = 1",
        "missing <> 1",
        "NOT missing = 1",
        "missing IN (1, 2)",
        "missing NOT IN (1, 2)",
        "missing LIKE '%'",
        "missing NOT LIKE 'x'",
        "missing + 1 > 0",
        "missing = 1 AND 1=1",
        "1=2 OR missing = 1",
        "n NOT IN (1, missing)",
        "missing = NULL",
    ],
)
def test_what_is_unknown_never_passes(sql: str) -> None:
    assert passes(sql, n=5) is False


def test_unknown_loses_to_a_certain_side() -> None:
    assert passes("missing = 1 OR 1=1")
    assert passes("NOT (missing = 1 AND 1=2)")


@pytest.mark.parametrize(
    "sql",
    ["n = 'five'", "n < TRUE", "region + 1 = 2", "n / 0 = 1", "n LIKE '%'", "sys.Unknown = 1", "flag > FALSE"],
)
def test_what_can_not_be_evaluated_is_an_error(sql: str) -> None:
    with pytest.raises(FilterError):
        passes(sql, region="eu", n=5, flag=True)


@pytest.mark.parametrize(
    "sql",
    [
        "",
        "n",
        "1",
        "n =",
        "n = 1 AND",
        "(n = 1",
        "n = 1)",
        "n IN ()",
        "n IN 1",
        "n LIKE",
        "n NOT = 1",
        "EXISTS(1)",
        "1 IS NULL",
        "other.n = 1",
        "nofunction(1) = 1",
        "n = @missing",
        "(n = 1) + 1 = 2",
        "n = 'open",
        "n # 1",
        "n = 1 " + "AND n = 1 " * 110,
        "NOT " * 150 + "1=1",
    ],
)
def test_what_is_no_filter_is_refused(sql: str) -> None:
    with pytest.raises(Refusal):
        CompiledRule(Rule("r", SqlFilter(sql)))


def test_correlation_filters_need_all_that_they_name() -> None:
    rule = CompiledRule(Rule("r", CorrelationFilter({"Label": "news"}, {"region": "eu", "n": 5, "flag": True})))
    assert rule.matches(View(message("news", region="eu", n=5, flag=True, more=1)))
    assert not rule.matches(View(message("news", region="eu", n=5, flag=1)))
    assert not rule.matches(View(message("news", region="eu", n=5)))
    assert not rule.matches(View(message("other", region="eu", n=5, flag=True)))
    with pytest.raises(Refusal):
        CompiledRule(Rule("r", CorrelationFilter()))


def test_actions_change_the_copy() -> None:
    action = "SET n = n + 1; SET sys.Label = 'new'; SET fresh = 'it''s'; REMOVE gone; SET copy = sys.MessageId"
    rule = CompiledRule(Rule("r", SqlFilter("1=1"), action))
    changed = message("old", n=1, gone="x", kept=b"\x00")
    rule.apply(changed)
    view = View(changed)
    assert view.application == {"n": 2, "fresh": "it's", "copy": "id", "kept": b"\x00"}
    assert view.system("Label") == "new"
    assert changed.bare.endswith(e.described(DATA, e.binary(b"body")))


def test_statements_of_an_action_need_no_separator() -> None:
    given = message(gone="x")
    rule = Rule("r", SqlFilter("1=1"), "SET a = 1 SET b = @b; REMOVE gone SET c = a", {"@b": "x"})
    CompiledRule(rule).apply(given)
    assert View(given).application == {"a": 1, "b": "x", "c": 1}


@pytest.mark.parametrize("action", ["SET", "SET n", "SET n = 1 = 1", "REMOVE sys.Label", "SET sys.Size = 1", "n = 1"])
def test_what_is_no_action_is_refused(action: str) -> None:
    with pytest.raises(Refusal):
        CompiledRule(Rule("r", SqlFilter("1=1"), action))
