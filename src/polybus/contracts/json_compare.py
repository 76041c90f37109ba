"""Whether a reader takes all that a writer may send, by their schemas.

Sound, and not complete: where nothing is found, every value of the writer's is one of the reader's. Where something
is found, its example is one that the reader refuses, tried by the same check as messages are at publish; a gap without
an example couldn't be decided, and counts as one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from polybus.contracts.breaks import NONE, Gap
from polybus.contracts.json_check import kind_of, name_of, problem, shown
from polybus.contracts.json_example import candidates, list_with, object_with, smallest
from polybus.contracts.json_shape import (
    Alternative,
    Anything,
    List,
    Node,
    Number,
    Object,
    Opaque,
    Text,
    Values,
    read,
)

__all__ = ["gaps"]


def gaps(writer: Any, reader: Any) -> list[Gap]:
    """Return where a reader by one JSON Schema doesn't take what a writer by another may send."""
    return _Comparison().within(read(writer, writes=True), read(reader, writes=False), "$")


class _Comparison:
    def __init__(self) -> None:
        # Pairs that are being compared: a schema within itself is as good as the rest of it is.
        self._assumed: set[tuple[int, int]] = set()

    def within(self, writer: Node, reader: Node, place: str) -> list[Gap]:
        writer, reader = writer.itself, reader.itself
        pair = (id(writer), id(reader))
        if pair in self._assumed:
            return []
        before = set(self._assumed)
        self._assumed.add(pair)
        found = [*self._exclusive(writer, reader, place)]
        for alternative in writer.alternatives:
            found += self._covered(alternative, writer, reader, place)
        found = [_tried(gap, writer, reader, place) for gap in found]
        if found:
            self._assumed = before  # nor does what was found with its help stand
        return found

    def _exclusive(self, writer: Node, reader: Node, place: str) -> Iterable[Gap]:
        for node in reader.nested:
            for number, one in enumerate(node.exclusive):
                for other in node.exclusive[number + 1 :]:
                    if not _apart(one, other) and not _same(writer, reader):
                        yield _undecided(place, "the forms of `oneOf` may hold both at once")
                        return

    def _covered(self, alternative: Alternative, writer: Node, reader: Node, place: str) -> list[Gap]:
        """Say where one alternative of a writer's is in none of a reader's."""
        ours = reader.alternatives
        if any(isinstance(each, Anything) for each in ours):
            return []
        if isinstance(alternative, Values):
            return _values(alternative, reader, place)
        if isinstance(alternative, Opaque):
            if any(isinstance(each, Opaque) and each.text == alternative.text for each in ours):
                return []
            return [_undecided(place, f"{alternative.why} can't be compared")]
        near = [each for each in ours if type(each) is type(alternative)]
        if not near:
            return [self._no_such_kind(alternative, reader, place)]
        tried = [self._alternatives(alternative, each, place) for each in near]
        if not all(tried):
            return []
        if len(tried) == 1:
            return tried[0]
        detail = f"none of the {len(near)} forms of {name_of(alternative)} takes all that may be sent"
        examples = (gap.example for found in tried for gap in found)
        return [_with_example(Gap("union-narrowed", place, detail), examples, reader)]

    def _no_such_kind(self, alternative: Alternative, reader: Node, place: str) -> Gap:
        kinds = ", ".join(dict.fromkeys(name_of(each) for each in reader.alternatives)) or "nothing"
        detail = f"{name_of(alternative)} may be sent, and {kinds} is read"
        return _with_example(Gap("type-narrowed", place, detail), candidates(alternative), reader)

    def _alternatives(self, writer: Alternative, reader: Alternative, place: str) -> list[Gap]:
        if isinstance(writer, Number) and isinstance(reader, Number):
            return _numbers(writer, reader, place)
        if isinstance(writer, Text) and isinstance(reader, Text):
            return _texts(writer, reader, place)
        if isinstance(writer, List) and isinstance(reader, List):
            return self._lists(writer, reader, place)
        if isinstance(writer, Object) and isinstance(reader, Object):
            return self._objects(writer, reader, place)
        return []

    def _lists(self, writer: List, reader: List, place: str) -> list[Gap]:
        found: list[Gap] = []
        if reader.least > writer.least:
            detail = f"lists of {writer.least} items and more may be sent, {reader.least} and more are read"
            found.append(Gap("bound-tightened", place, detail, list_with(writer, writer.least, {})))
        longer = reader.most is not None and (writer.most is None or writer.most > reader.most)
        if reader.most is not None and longer and (writer.items.alternatives or len(writer.prefix) > reader.most):
            example = list_with(writer, reader.most + 1, {}) if reader.most < 64 else NONE
            detail = f"lists of more than {reader.most} items may be sent"
            found.append(Gap("bound-tightened", place, detail, example))
        if reader.unique and not writer.unique and (writer.most is None or writer.most > 1):
            item = smallest(writer.items)
            example = NONE if item is NONE else list_with(writer, max(2, writer.least), {0: item, 1: item})
            found.append(Gap("bound-tightened", place, "an item may be sent twice", example))
        return found + self._items(writer, reader, place)

    def _items(self, writer: List, reader: List, place: str) -> list[Gap]:
        found: list[Gap] = []
        last = max(len(writer.prefix), len(reader.prefix))
        for number in range(last + 1 if writer.most is None else min(last + 1, writer.most)):
            theirs = writer.prefix[number] if number < len(writer.prefix) else writer.items
            ours = reader.prefix[number] if number < len(reader.prefix) else reader.items
            inner = f"{place}[{number}]" if number < last else f"{place}[]"
            inner_gaps = self.within(theirs, ours, inner)
            length = max(writer.least, number + 1)
            found += [replace(gap, example=_in_list(writer, length, number, gap.example)) for gap in inner_gaps]
        return found

    def _objects(self, writer: Object, reader: Object, place: str) -> list[Gap]:
        found: list[Gap] = []
        for name in sorted(reader.required - writer.required):
            detail = "it has to be there, and may be left out"
            example = object_with(writer, {}, without=name)
            found.append(Gap("required-field-added", f"{place}.{name}", detail, example))
        for name, theirs in writer.properties.items():
            ours = reader.properties.get(name)
            inner = f"{place}.{name}"
            if ours is None and theirs.alternatives and not reader.others.alternatives:
                example = object_with(writer, {name: smallest(theirs)})
                found.append(Gap("field-not-allowed", inner, "it may be sent, and may not be there", example))
                continue
            inner_gaps = self.within(theirs, reader.others if ours is None else ours, inner)
            found += [replace(gap, example=_in_object(writer, name, gap.example)) for gap in inner_gaps]
        return found + self._others(writer, reader, place) + _counts(writer, reader, place)

    def _others(self, writer: Object, reader: Object, place: str) -> list[Gap]:
        """Compare what properties may hold that the writer doesn't declare."""
        found: list[Gap] = []
        if not writer.others.alternatives:
            return found
        for name, ours in reader.properties.items():
            if name not in writer.properties:
                for gap in self.within(writer.others, ours, f"{place}.{name}"):
                    example = _in_object(writer, name, gap.example)
                    found.append(replace(gap, rule="field-added-to-open", detail=_OPEN, example=example))
        spare = next(name for name in _names() if name not in writer.properties and name not in reader.properties)
        inner_gaps = self.within(writer.others, reader.others, f"{place}[...]")
        return found + [replace(gap, example=_in_object(writer, spare, gap.example)) for gap in inner_gaps]


_OPEN = "properties that nobody declared may be sent under its name, with other values"


def _names() -> Iterable[str]:
    number = 0
    while True:
        yield f"x{number}"
        number += 1


def _values(writer: Values, reader: Node, place: str) -> list[Gap]:
    refused = {text: value for text, value in writer.values.items() if problem(reader, value, place) is not None}
    if not refused:
        return []
    kinds = {kind_of(value) for value in refused.values()}
    read_kinds = {kind for each in reader.alternatives for kind in _kinds(each)}
    if kinds <= read_kinds:
        rule, detail = "value-removed", f"{', '.join(sorted(refused))} may be sent, and is no value that is read"
    else:
        rule, detail = "type-narrowed", f"{', '.join(sorted(kinds - read_kinds))} may be sent, and is not read"
    return [Gap(rule, place, detail, next(iter(refused.values())))]


def _kinds(alternative: Alternative) -> set[str]:
    if isinstance(alternative, Values):
        return {kind_of(value) for value in alternative.values.values()}
    return {"number" if isinstance(alternative, Number) else name_of(alternative)}


def _numbers(writer: Number, reader: Number, place: str) -> list[Gap]:
    found: list[Gap] = []
    if reader.integer and not writer.integer and (writer.multiple is None or writer.multiple.denominator != 1):
        found.append(Gap("type-narrowed", place, "number may be sent, and integer is read"))
    if reader.low is not None and (
        writer.low is None
        or writer.low < reader.low
        or (writer.low == reader.low and reader.open_low and not writer.open_low)
    ):
        least = "any number" if writer.low is None else f"{shown(writer.low)} and more"
        found.append(Gap("bound-tightened", place, f"{least} may be sent, {shown(reader.low)} and more is read"))
    if reader.high is not None and (
        writer.high is None
        or writer.high > reader.high
        or (writer.high == reader.high and reader.open_high and not writer.open_high)
    ):
        most = "any number" if writer.high is None else f"{shown(writer.high)} and less"
        found.append(Gap("bound-tightened", place, f"{most} may be sent, {shown(reader.high)} and less is read"))
    step = reader.multiple
    if step is not None:
        steps = writer.multiple or (1 if writer.integer else None)
        if steps is None or (steps / step).denominator != 1:
            found.append(Gap("bound-tightened", place, f"only multiples of {shown(step)} are read"))
    return [_with_example(gap, candidates(writer, beside=reader), _node(reader)) for gap in found]


def _texts(writer: Text, reader: Text, place: str) -> list[Gap]:
    found: list[Gap] = []
    if reader.least > writer.least:
        detail = f"texts of {writer.least} characters and more may be sent, {reader.least} and more are read"
        found.append(Gap("bound-tightened", place, detail))
    if reader.most is not None and (writer.most is None or writer.most > reader.most):
        found.append(Gap("bound-tightened", place, f"texts of more than {reader.most} characters may be sent"))
    if reader.pattern is not None and reader.pattern != writer.pattern:
        found.append(Gap("pattern-changed", place, "texts that the pattern doesn't allow may be sent"))
    if reader.format is not None and not (writer.format or "").startswith(reader.format):
        found.append(Gap("format-changed", place, f"texts that are no {reader.format} may be sent"))
    if reader.encoding is not None and reader.encoding != writer.encoding:
        found.append(Gap("format-changed", place, f"texts that are no {reader.encoding} may be sent"))
    return [_with_example(gap, candidates(writer, beside=reader), _node(reader)) for gap in found]


def _counts(writer: Object, reader: Object, place: str) -> list[Gap]:
    found: list[Gap] = []
    if reader.least > max(writer.least, len(writer.required)):
        detail = f"fewer than {reader.least} properties may be sent"
        found.append(Gap("bound-tightened", place, detail, object_with(writer, {})))
    most = writer.most
    if not writer.others.alternatives:
        declared = len(writer.properties)
        most = declared if most is None else min(most, declared)
    if reader.most is not None and (most is None or most > reader.most):
        given = {name: smallest(each) for name, each in writer.properties.items()}
        if writer.others.alternatives:
            given |= {f"x{number}": smallest(writer.others) for number in range(min(reader.most, 64) + 1)}
        detail = f"more than {reader.most} properties may be sent"
        found.append(Gap("bound-tightened", place, detail, object_with(writer, given)))
    return found


def _apart(one: Node, other: Node) -> bool:
    """Say whether no value is of both, as far as kinds, values and a required property with a value of its own tell."""
    return all(_differ(a, b) for a in one.alternatives for b in other.alternatives)


def _differ(one: Alternative, other: Alternative) -> bool:
    if isinstance(one, Anything | Opaque) or isinstance(other, Anything | Opaque):
        return False
    if isinstance(one, Values):
        return all(problem(_node(other), value) is not None for value in one.values.values())
    if isinstance(other, Values):
        return _differ(other, one)
    if type(one) is not type(other):
        return True
    if isinstance(one, Object) and isinstance(other, Object):
        names = [name for name in one.required & other.required if name in one.properties and name in other.properties]
        return any(_tagged_apart(one.properties[name], other.properties[name]) for name in names)
    return False


def _tagged_apart(one: Node, other: Node) -> bool:
    tags = [each for node in (one, other) for each in node.alternatives]
    return all(isinstance(each, Values) for each in tags) and _apart(one, other)


def _same(writer: Node, reader: Node) -> bool:
    return writer is reader


def _node(alternative: Alternative) -> Node:
    node = Node()
    node.parts.append(alternative)
    return node


def _undecided(place: str, why: str) -> Gap:
    return Gap("undecided", place, f"{why}, so that it isn't known to be safe", decided=False)


def _with_example(gap: Gap, tried: Iterable[Any], reader: Node) -> Gap:
    refused = (value for value in tried if value is not NONE and problem(reader, value) is not None)
    return replace(gap, example=next(refused, NONE))


def _in_object(writer: Object, name: str, value: Any) -> Any:
    return NONE if value is NONE else object_with(writer, {name: value})


def _in_list(writer: List, length: int, at: int, value: Any) -> Any:
    return NONE if value is NONE else list_with(writer, length, {at: value})


def _tried(gap: Gap, writer: Node, reader: Node, place: str) -> Gap:
    """Keep an example only where it is one: the writer may send it, and the reader refuses it."""
    if gap.example is NONE:
        return replace(gap, decided=False)
    good = problem(writer, gap.example, place) is None and problem(reader, gap.example, place) is not None
    return gap if good else replace(gap, example=NONE, decided=False)
