"""The grammar that is written down is the one that is parsed."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polybus.errors import FilterError
from polybus.topology.filters import parse
from polybus.topology.filters.grammar import GRAMMAR

RULES: Mapping[str, str] = dict(re.findall(r"^(\w+) += (.*) ;$", GRAMMAR, re.MULTILINE))
NAMES = st.sampled_from(["region", "a", "exists", "prefix", "x-y.z", "_1"])
STRINGS = st.sampled_from(['"eu"', "'uk'", '""', r'"\u00e9\""'])
DEEPEST = 5
"""How often a sentence may go into itself; the parser allows far more."""


def sentences(rule: str, depth: int = 0) -> st.SearchStrategy[str]:
    """Make sentences of a rule, of the grammar as it is written."""
    if rule in ("name", "string"):
        return {"name": NAMES, "string": STRINGS}[rule]
    tokens = re.findall(r'"[^"]+"|\w+|[|(){}\[\]]', RULES[rule])
    strategy, rest = alternatives(tokens, depth)
    assert rest == []
    return strategy


def alternatives(tokens: list[str], depth: int) -> tuple[st.SearchStrategy[str], list[str]]:
    found, rest = sequence(tokens, depth)
    several = [found]
    while rest[:1] == ["|"]:
        found, rest = sequence(rest[1:], depth)
        several.append(found)
    # The last alternative of each rule leads out of it.
    return (st.one_of(several) if depth < DEEPEST else several[-1]), rest


def sequence(tokens: list[str], depth: int) -> tuple[st.SearchStrategy[str], list[str]]:
    parts: list[st.SearchStrategy[str]] = []
    rest = tokens
    while rest and rest[0] not in ("|", ")", "]", "}"):
        part, rest = item(rest, depth)
        parts.append(part)
    return st.tuples(*parts).map(" ".join), rest


_CLOSING: Mapping[str, tuple[str, Callable[[st.SearchStrategy[str]], st.SearchStrategy[str]]]] = {
    "(": (")", lambda inner: inner),
    "[": ("]", lambda inner: st.just("") | inner),
    "{": ("}", lambda inner: st.lists(inner, max_size=2).map(" ".join)),
}


def item(tokens: list[str], depth: int) -> tuple[st.SearchStrategy[str], list[str]]:
    first, rest = tokens[0], tokens[1:]
    if first in _CLOSING:
        closing, wrap = _CLOSING[first]
        inner, rest = alternatives(rest, depth)
        assert rest[0] == closing
        return wrap(inner), rest[1:]
    if first.startswith('"'):
        return st.just(first.strip('"')), rest
    return st.deferred(lambda: sentences(first, depth + 1)), rest


@given(sentences("filter"))
@settings(max_examples=300)
def test_every_sentence_of_the_grammar_is_taken(text: str) -> None:
    assert parse(str(parse(text))) == parse(text)


WORDS = st.sampled_from(["and", "or", "not", "in", "(", ")", ",", "==", "!=", "exists", "prefix", "a", '"v"'])


@given(st.lists(WORDS, max_size=9))
@settings(max_examples=500)
def test_what_is_no_sentence_is_refused_and_what_is_one_is_not(words: list[str]) -> None:
    if is_sentence(words):
        parse(" ".join(words))
    else:
        with pytest.raises(FilterError):
            parse(" ".join(words))


def is_sentence(words: list[str]) -> bool:
    """Say whether the grammar, read as it is written, has a sentence of these words; by trying all ways."""
    return len(words) in ends("filter", words, 0)


def ends(rule: str, words: list[str], at: int) -> set[int]:
    """Return where a sentence of a rule that begins at a word may end."""
    if rule == "name":
        good = at < len(words) and re.fullmatch(r"\w+", words[at]) and words[at] not in ("and", "or", "not", "in")
        return {at + 1} if good else set()
    if rule == "string":
        return {at + 1} if at < len(words) and words[at].startswith('"') else set()
    tokens = re.findall(r'"[^"]+"|\w+|[|(){}\[\]]', RULES[rule])
    found, rest = ends_of_alternatives(tokens, words, {at})
    assert rest == []
    return found


def ends_of_alternatives(tokens: list[str], words: list[str], starts: set[int]) -> tuple[set[int], list[str]]:
    found, rest = ends_of_sequence(tokens, words, starts)
    while rest[:1] == ["|"]:
        more, rest = ends_of_sequence(rest[1:], words, starts)
        found |= more
    return found, rest


def ends_of_sequence(tokens: list[str], words: list[str], starts: set[int]) -> tuple[set[int], list[str]]:
    rest, places = tokens, set(starts)
    while rest and rest[0] not in ("|", ")", "]", "}"):
        places, rest = ends_of_item(rest, words, places)
    return places, rest


def ends_of_item(tokens: list[str], words: list[str], starts: set[int]) -> tuple[set[int], list[str]]:
    first, rest = tokens[0], tokens[1:]
    if first in _CLOSING:
        found, after = ends_of_alternatives(rest, words, starts)
        places = found if first == "(" else found | starts
        while first == "{" and not found <= starts:
            starts = starts | found
            found, _ = ends_of_alternatives(rest, words, starts)
            places = places | found
        return places, after[1:]
    if first.startswith('"'):
        return {at + 1 for at in starts if at < len(words) and words[at] == first.strip('"')}, rest
    return {end for at in starts for end in ends(first, words, at)}, rest
