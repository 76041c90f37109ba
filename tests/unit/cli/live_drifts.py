"""What tests of `check --live` share on every cloud."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["drifts"]


def drifts(cli: Callable) -> list[tuple[str, str, str, list[str]]]:
    """Give what `check --live` found as kind, resource, entry, and the names of what differs."""
    result = cli("check", "--live", "--json")
    assert result.out, result.err
    found = result.json()
    assert result.code == (0 if found["ok"] else 1)
    return [
        (drift["kind"], drift["resource"], drift["entry"], [edit["property"] for edit in drift["differences"]])
        for drift in found["drifts"]
    ]
