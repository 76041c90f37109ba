"""What every provisioning test needs."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .engine import EngineDouble
    from .engine_cli import PulumiCli
    from .engine_places import Place

# pulumi-aws and pulumi-gcp warn, when a module is loaded, of types and functions in it that moved. We use none of them.
MOVED = r"ignore:(aws|gcp)\..* has been deprecated in favor of:DeprecationWarning"


# What only Pulumi's own engine can show is in a file of its own, which the whole of it takes.
collect_ignore = [] if os.environ.get("POLYBUS_ENGINE") == "whole" else ["test_engine_cli.py"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings(MOVED))


@pytest.fixture(autouse=True)
def _quiet_loops() -> Iterator[None]:
    """Keep asyncio from printing errors that nobody retrieved beside the first, as Pulumi's own host does."""
    logger = logging.getLogger("asyncio")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(level)


# -- Stacks under an engine: what it takes is imported by those tests alone --------------------------------------------


@pytest.fixture
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Place]:
    """Start the local server of the test's cloud, lead everyone to it, and put the plugins on PATH."""
    from polybus.provision.laptop import launchers

    from .engine_places import running
    from .engine_scenario import REFUSED

    with running(request.param) as place:
        for name, value in place.environment.items():
            monkeypatch.setenv(name, value)
        plugins = launchers.write(tmp_path / "plugins", [str(Path(__file__).with_name("refusing.py"))])
        monkeypatch.setenv("PATH", str(plugins), prepend=os.pathsep)
        monkeypatch.setenv("POLYBUS_PLUGIN_REFUSES", str(tmp_path / "checkout" / "stacks" / REFUSED))
        yield place


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Give the folder of the Pulumi project, as in a checkout of its own."""
    from . import engine_cli

    return engine_cli.check_out(tmp_path / "checkout")


@pytest.fixture
def double(place: Place, project: Path) -> Iterator[EngineDouble]:
    from polybus.provision.cloud import cloud_named

    from .engine import EngineDouble
    from .engine_host import Host
    from .engine_places import STACK
    from .engine_plugin import Plugins

    sdk = cloud_named(place.cloud).sdk.package
    with Host([sdk, "polybus.provision"]) as host, Plugins(os.environ["PATH"], place.config) as plugins:
        seed = int(os.environ.get("POLYBUS_ENGINE_SEED", "0"))  # of the order of what doesn't wait for each other
        yield EngineDouble(project / "__main__.py", project, STACK, host, plugins, seed=seed)


@pytest.fixture
def cli(
    request: pytest.FixtureRequest,
    place: Place,
    project: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    say: Callable[[str], None],
) -> PulumiCli:
    """Give the CLI, with all that it keeps in the test's folder."""
    from polybus.provision.laptop import launchers

    from . import engine_cli
    from .engine_places import STACK

    found = engine_cli.find()
    if found is None:
        pytest.fail(engine_cli.said())
    for name in engine_cli.UNSET:
        monkeypatch.delenv(name, raising=False)
    for name, value in engine_cli.environment(tmp_path / "pulumi").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PATH", str(found.parent), prepend=os.pathsep)
    if not engine_cli.own_host(found):
        launchers.write_language_host(tmp_path / "plugins")
    say(engine_cli.said())
    say(f" {request.node.name}:")
    return engine_cli.PulumiCli(project, STACK, say)
