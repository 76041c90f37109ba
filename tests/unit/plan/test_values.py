"""References inside properties: found, resolved, and carried through what takes only text."""

from __future__ import annotations

from polybus.plan.values import Join, Json, Ref, Resource, found_in, marked, refs, resolve, unmarked

QUEUE, TOPIC = Ref("jobs-queue", "arn"), Ref("news.topic-x", "arn")
NESTED = {"a": [QUEUE, {"b": Json({"c": (TOPIC, 1)})}], "d": Join(("x:", QUEUE, ":y")), "e": None}


def test_references_are_found_at_any_depth() -> None:
    assert list(refs(NESTED)) == [QUEUE, TOPIC, QUEUE]


def test_references_are_resolved_and_joined_and_json_stays_a_marker() -> None:
    found = resolve(NESTED, lambda ref: f"<{ref.resource}>")
    assert found == {
        "a": ["<jobs-queue>", {"b": Json({"c": ["<news.topic-x>", 1]})}],
        "d": "x:<jobs-queue>:y",
        "e": None,
    }


def test_marks_carry_references_through_text() -> None:
    text = {"whole": marked(QUEUE), "part": f"x/{marked(TOPIC)}/y", "plain": "${jobs-queue.arn}", "n": 3}
    assert unmarked(text) == {
        "whole": QUEUE,
        "part": Join(("x/", TOPIC, "/y")),
        "plain": "${jobs-queue.arn}",
        "n": 3,
    }
    assert unmarked([marked(Join(("a", QUEUE)))]) == [Join(("a", QUEUE))]
    assert marked("text") == "text"


def test_outputs_turn_references_into_text() -> None:
    find = found_in({"jobs-queue": {"arn": "arn:1"}})
    assert find("as it is") == "as it is"
    assert find(QUEUE) == "arn:1"
    assert find(Join(("a/", QUEUE))) == "a/arn:1"


def test_what_is_not_set_is_no_property() -> None:
    resource = Resource("t", "n", {"a": None, "b": False}, "kind", "$.x")
    assert resource.properties == {"b": False}
