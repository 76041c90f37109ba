"""Filters for Service Bus and Pub/Sub: what they say agrees with the filter, and redrive reaches one subscription."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
from hypothesis import given, settings

from polybus.binding import Entity, Kind
from polybus.clouds.azure.driver.sieve import Sieve
from polybus.clouds.azure.plan import filters as filters_azure
from polybus.clouds.gcp.plan import filters as filters_gcp
from polybus.topology.filters import Filter, parse

from . import pubsub, sql
from .strategies import FILTERS, MESSAGES

TAG = "1a2b3c4d"
Compile = Callable[[Filter | None, str], str]
Passes = Callable[[str, Mapping[str, str]], bool]
both = pytest.mark.parametrize(
    ("compile_filter", "passes"),
    [(filters_azure.compile_filter, sql.passes), (filters_gcp.compile_filter, pubsub.passes)],
    ids=["azure", "gcp"],
)


@both
@settings(max_examples=300)
@given(filter_=FILTERS, attributes=MESSAGES)
def test_what_is_published_passes_as_the_filter_says(
    compile_filter: Compile, passes: Passes, filter_: Filter, attributes: dict[str, str]
) -> None:
    assert passes(compile_filter(filter_, TAG), attributes) is filter_.matches(attributes)


@both
@settings(max_examples=100)
@given(filter_=FILTERS, attributes=MESSAGES)
def test_what_is_redriven_reaches_its_own_subscription_and_no_other(
    compile_filter: Compile, passes: Passes, filter_: Filter, attributes: dict[str, str]
) -> None:
    for expression in (compile_filter(filter_, TAG), compile_filter(None, TAG)):
        assert passes(expression, {**attributes, "polybus_to": TAG})
        assert not passes(expression, {**attributes, "polybus_to": "another"})


def sieve(filter_: Filter | None) -> Sieve:
    address = "orders/Subscriptions/s"
    text = None if filter_ is None else str(filter_)
    return Sieve(Entity(kind=Kind.SUBSCRIPTION, name="s", address=address, filter=text, tag=TAG))


@settings(max_examples=300)
@given(filter_=FILTERS, attributes=MESSAGES)
def test_azure_s_consumer_keeps_back_what_the_rule_refuses_and_nothing_else(
    filter_: Filter, attributes: dict[str, str]
) -> None:
    for declared in (filter_, None):
        expression, own = filters_azure.compile_filter(declared, TAG), sieve(declared)
        for more in ({}, {"polybus_to": TAG}, {"polybus_to": "another"}):
            properties = {**attributes, **more}
            carried: dict[str | bytes, object] = {name.encode(): value.encode() for name, value in properties.items()}
            if len({name.lower() for name in attributes}) == len(attributes):  # else the two disagree which is meant
                assert own.passes(carried) is sql.passes(expression, properties)
            # What the rule let pass is asked no more: it may have been another by then.
            assert own.passes({**carried, b"polybus_rule": TAG.encode()}) is (more.get("polybus_to", TAG) == TAG)


@both
def test_without_a_filter_everything_published_passes(compile_filter: Compile, passes: Passes) -> None:
    assert passes(compile_filter(None, TAG), {})
    assert passes(compile_filter(None, TAG), {"a": "x"})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            'region in ("eu", "uk") and not exists(test)',
            "(region IN ('eu','uk') AND NOT EXISTS(test) AND NOT EXISTS(polybus_to)) OR polybus_to='1a2b3c4d'",
        ),
        ('a != "x"', "(a<>'x' AND NOT EXISTS(polybus_to)) OR polybus_to='1a2b3c4d'"),
        (
            'not a == "it\'s"',
            "((NOT EXISTS(a) OR a<>'it''s') AND NOT EXISTS(polybus_to)) OR polybus_to='1a2b3c4d'",
        ),
        (
            'prefix(order.kind, "5%")',
            "([order.kind] LIKE '5!%%' ESCAPE '!' AND NOT EXISTS(polybus_to)) OR polybus_to='1a2b3c4d'",
        ),
        ("exists(user)", "(EXISTS([user]) AND NOT EXISTS(polybus_to)) OR polybus_to='1a2b3c4d'"),
    ],
)
def test_the_sql_is_what_a_person_would_write(text: str, expected: str) -> None:
    assert filters_azure.compile_filter(parse(text), TAG) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            'region in ("eu", "uk") and not exists(test)',
            '((attributes.region="eu" OR attributes.region="uk") AND NOT attributes:test '
            'AND NOT attributes:polybus_to) OR attributes.polybus_to="1a2b3c4d"',
        ),
        (
            'prefix(order.kind, "x")',
            '(hasPrefix(attributes."order.kind", "x") AND NOT attributes:polybus_to) '
            'OR attributes.polybus_to="1a2b3c4d"',
        ),
    ],
)
def test_the_pubsub_filter_is_what_a_person_would_write(text: str, expected: str) -> None:
    assert filters_gcp.compile_filter(parse(text), TAG) == expected


def test_what_is_too_long_is_a_problem_counted_with_its_wrap() -> None:
    fits = parse("a == '" + "x" * 160 + "'")
    assert filters_gcp.filter_problem(fits, TAG) is None
    long = parse("a == '" + "é" * 95 + "'")
    assert filters_gcp.filter_problem(long, TAG) == "273 bytes once compiled and wrapped for redrive, of 256"
    assert filters_azure.filter_problem(long, TAG) is None
    longer = parse("a == '" + "x" * 1_000 + "'")
    assert "of 1024" in (filters_azure.filter_problem(longer, TAG) or "")
