"""What runs the services of random stacks: every document is one that its platform takes, and no two are one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings

from polybus.binding import Binding
from polybus.plan.run.blanks import Filler
from polybus.plan.run.model import Written
from polybus.registry import each

from .everything import Stack, stacks
from .running import running_of, written
from .schema import Schemas, schemas
from .test_ecs import REQUESTS
from .test_ecs import problems as refused
from .test_limits import PHASES, SLOW

# A document has few forms, whatever the topology is like; each example plans a whole one.
few = settings(max_examples=15, suppress_health_check=SLOW, deadline=None, phases=PHASES)
EVERY = [(cloud.name, name) for cloud in each("running") for name in running_of(cloud.name).platforms]
KUBERNETES, CLOUD_RUN, CONTAINER_APPS = schemas("kubernetes"), schemas("cloudrun"), schemas("containerapps")
OF = {"keda": KUBERNETES, "cloudrun": CLOUD_RUN}


def made_of(cloud: str, platform: str, stack: Stack) -> tuple[Any, Written, Filler]:
    return written(cloud, platform, settings=stack.settings, bus=stack.topology)


def problems(platform: str, file: str, documents: list[Any]) -> list[str]:
    if platform == "containerapps":
        return [problem for one in documents for problem in CONTAINER_APPS.problems("ContainerApp", one)]
    if platform == "ecs":
        part = file.partition(".")[2]
        kind = next(kind for kind in REQUESTS if part.startswith(kind))
        return [problem for one in documents for problem in refused(*REQUESTS[kind], one)]
    held: Schemas = OF[platform]
    return [problem for one in documents for problem in held.problems(one["kind"], one)]


@pytest.mark.parametrize(("cloud", "platform"), EVERY)
def test_every_stack_is_written_as_the_platform_takes_it(cloud: str, platform: str) -> None:
    @few
    @given(stack=stacks(cloud, fan=False))
    def proof(stack: Stack) -> None:
        files, _, _ = made_of(cloud, platform, stack)
        for file, documents in files.items():
            if file not in ("identities", "crema"):
                assert problems(platform, file, documents) == []

    proof()


@pytest.mark.parametrize("cloud", sorted({cloud for cloud, _ in EVERY}))
def test_what_runs_has_names_and_bindings_of_its_own_and_a_trigger_for_each_source(cloud: str) -> None:
    @few
    @given(stack=stacks(cloud, fan=False))
    def proof(stack: Stack) -> None:
        files, made, _ = made_of(cloud, "keda", stack)
        found = [document for file, documents in files.items() if file not in made.plain for document in documents]
        names = [(one["kind"], one["metadata"]["name"]) for one in found]
        assert len(set(names)) == len(names)
        accounts = {name for kind, name in names if kind == "ServiceAccount"}
        assert all(len(name) <= 63 for name in accounts)
        triggered: list[str] = []
        for document in found:
            if document["kind"] == "ConfigMap":
                Binding.from_json(document["data"]["binding.json"])
            if document["kind"] == "ScaledObject":
                assert document["spec"]["scaleTargetRef"]["name"] in accounts
                triggered += [trigger["name"] for trigger in document["spec"]["triggers"]]
        running = [one for one in stack.topology.services.values() if one.name in files]
        assert sorted(triggered) == sorted(name for one in running for name in one.consumes)

    proof()
