"""Modules under the names that they had before each cloud had a folder: the same modules, until 0.2."""

from __future__ import annotations

import importlib
import subprocess
import sys
import warnings

import pytest

MOVES = {
    "polybus.backends.aws.faults": "polybus.clouds.aws.driver.faults",
    "polybus.backends.gcp.live": "polybus.clouds.gcp.live",
    "polybus.backends.memory.store": "polybus.embedded.memory.store",
    "polybus.backends.portable": "polybus.portable",
    "polybus.plan.azure": "polybus.clouds.azure.plan.resources",
    "polybus.plan.check_gcp": "polybus.clouds.gcp.plan.check",
    "polybus.plan.azure_namespace": "polybus.clouds.azure.plan.namespace",
    "polybus.plan.local": "polybus.embedded.plan",
    "polybus.localcloud.servicebus.realise": "polybus.clouds.azure.local",
}


@pytest.mark.parametrize(("old", "new"), MOVES.items())
def test_the_old_name_is_the_same_module(old: str, new: str) -> None:
    sys.modules.pop(old, None)
    with warnings.catch_warnings(record=True) as told:  # of the packages above it too
        warnings.simplefilter("always")
        found = importlib.import_module(old)
    assert any(str(one.message).startswith(f"{old} is {new} now") for one in told)
    assert found is importlib.import_module(new)


def test_old_packages_have_the_names_of_the_new_ones() -> None:
    code = (
        "from polybus.backends import load, names\n"
        "from polybus.backends.aws import driver\n"
        "from polybus.backends.memory import Store\n"
        "import polybus.backends.sqlite, polybus.clouds.aws.driver, polybus.registry, polybus.embedded.memory\n"
        "assert load is polybus.registry.load and driver is polybus.clouds.aws.driver.driver\n"
        "assert Store is polybus.embedded.memory.Store and callable(polybus.backends.sqlite.driver)\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)


def test_a_name_that_never_was_is_not_found() -> None:
    warnings.simplefilter("ignore")
    for name in ("polybus.backends.nats", "polybus.plan.redis", "polybus.nothing"):
        with pytest.raises(ModuleNotFoundError, match=name):
            importlib.import_module(name)
