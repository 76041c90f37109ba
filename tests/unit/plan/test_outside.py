"""A cloud that says no more than it has to."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from polybus.plan.planning import Planning
from polybus.plan.table import plan_for
from polybus.topology.file import loads


@dataclass(frozen=True)
class Settings:
    stack: str = ""
    place: str = "anywhere"


def plan(topology: Any, settings: Settings) -> Any:
    return SimpleNamespace(topology=topology, settings=settings, resources=())


def test_a_plan_to_look_at_is_made_with_the_stacks_name_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    least = Planning(settings=Settings, plan=plan, binding_values=lambda plan: {})
    monkeypatch.setattr("polybus.plan.table.planning_of", lambda cloud: least)
    made: Any = plan_for(loads('[bus]\nname = "shop"\n', source="shop.toml"), "acme", stack="dev")
    assert made.settings == Settings("dev")
    assert least.exports(made) == {}
