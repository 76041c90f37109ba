"""The binding of each service by itself, in a plan: what is in it, and how long it gets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from polybus.binding import Binding
from polybus.cli.plan import command
from polybus.clouds.aws.plan.published import LAMBDA
from polybus.plan.entities import service_bindings, sizes
from polybus.plan.planning import planning_of
from polybus.plan.table import plan_for
from polybus.plan.values import refs, resolve
from polybus.topology.file import loads
from polybus.topology.model import Topology

CLOUDS = ("aws", "azure", "gcp")


def shop(consumers: int) -> Topology:
    text = '[bus]\nname = "shop"\n[topics.orders]\n[queues.jobs]\n'
    for at in range(consumers):
        text += f'[subscriptions.s{at}]\ntopic = "orders"\nfilter = \'region in ("eu", "uk")\'\n'
        text += f'[services.v{at}]\nconsumes = ["s{at}"]\n'
    return loads(text + '[services.web]\npublishes = ["orders", "jobs"]\n', source="shop.toml")


def realised(value: Any, cloud: str, topology: Topology) -> Binding:
    """Fill in what a cloud would give, as it is estimated."""
    made = {one.name: one for one in plan_for(topology, cloud, stack="prod").resources}
    return msgspec.convert(
        resolve(value, lambda ref: planning_of(cloud).stand_in(made[ref.resource], ref.output)), Binding
    )


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_service_s_values_are_the_part_of_the_whole_binding_s(cloud: str) -> None:
    topology = shop(3)
    whole = planning_of(cloud).binding_values(plan_for(topology, cloud, stack="prod"))
    mine = service_bindings(topology, whole)
    assert set(mine) == {"v0", "v1", "v2", "web"}
    for service, values in mine.items():
        assert list(refs(values))
        assert realised(values, cloud, topology) == realised(whole, cloud, topology).for_service(service)


def test_a_push_is_of_the_service_that_has_its_function_s_name() -> None:
    text = '[bus]\nname = "shop"\n[topics.orders]\n[subscriptions.mail]\ntopic = "orders"\n'
    text += 'push = { function = "mailer" }\n[services.mailer]\npublishes = ["orders"]\n[services.other]\n'
    topology = loads(text, source="shop.toml")
    values = service_bindings(topology, planning_of("aws").binding_values(plan_for(topology, "aws")))
    assert (set(values["mailer"]["subscriptions"]), "subscriptions" in values["other"]) == ({"mail"}, False)


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_service_s_binding_fits_a_lambda_function_however_many_others_there_are(cloud: str) -> None:
    few, many = (sizes(plan_for(shop(count), cloud, stack="prod"), cloud) for count in (2, 60))
    assert many[""] > LAMBDA > few[""]
    assert many["v0"] <= few["v0"] < LAMBDA / 2
    assert many["web"] == few["web"]


@pytest.mark.parametrize("cloud", CLOUDS)
def test_the_estimate_is_the_length_of_what_is_read(cloud: str) -> None:
    topology = shop(2)
    values = service_bindings(topology, planning_of(cloud).binding_values(plan_for(topology, cloud, stack="prod")))
    text = realised(values["v0"], cloud, topology).to_compact_json()
    assert sizes(plan_for(topology, cloud, stack="prod"), cloud)["v0"] == len(text.encode())
    assert json.loads(text)["services"] == {"v0": {"consumes": ["s0"]}}


def test_a_binding_that_a_function_can_not_take_is_noted_with_the_way_round(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = '[bus]\nname = "shop"\n[topics.orders]\n'
    text += "".join(f'[subscriptions.s{at}]\ntopic = "orders"\n' for at in range(20))
    consumed = ", ".join(f'"s{at}"' for at in range(20))
    (tmp_path / "polybus.toml").write_text(f"{text}[services.all]\nconsumes = [{consumed}]\n[services.one]\n")
    command(tmp_path / "polybus.toml", cloud="aws")
    shown = capsys.readouterr()
    assert "bindings, about: all " in shown.out
    [line] = shown.err.splitlines()
    assert line.startswith("polybus: aws: $.services.all: a binding of about ")
    assert line.endswith("POLYBUS_BINDING=ssm:<parameter>")


def test_azure_s_outputs_say_where_dead_letters_are() -> None:
    text = '[bus]\nname = "shop"\n[topics.orders]\n[subscriptions.billing]\ntopic = "orders"\n[queues.jobs]\n'
    planning = planning_of("azure")
    plan = plan_for(loads(text, source="polybus.toml"), "azure")
    outputs, binding = (
        resolve(values, lambda ref: f"{ref.resource}/{ref.output}")
        for values in (planning.exports(plan), planning.binding_values(plan))
    )
    assert outputs["subscriptions"]["billing"]["deadLetters"].endswith("/$DeadLetterQueue")
    assert outputs["queues"]["jobs"]["deadLetters"] == binding["queues"]["jobs"]["dead_letter"]
