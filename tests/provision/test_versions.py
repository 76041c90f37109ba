"""Provider SDKs of other versions than the one installed: what is left out for them, and what names them.

`make lowest` and `make newest` run this folder with the versions themselves.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import inspect
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pulumi_aws
import pulumi_azure_native
import pytest

from polybus.clouds.aws.plan.resources import AwsSettings
from polybus.errors import ConfigError
from polybus.installed import requirement
from polybus.plan.planning import planning_of
from polybus.provision import MessageBus
from polybus.provision.cloud import cloud_named
from polybus.topology.file import loads

from . import runner, simulated

PLAIN = '[bus]\nname = "shop"\n[topics.orders]\n[subscriptions.billing]\ntopic = "orders"\n'
LARGE = PLAIN.replace("[topics.orders]\n", '[topics.orders]\nmax_message_size = "1MiB"\n')


def registered(text: str) -> runner.Registered:
    def program() -> None:
        MessageBus("shop", topology=loads(text, source="shop.toml"), cloud="aws", settings=AwsSettings(stack="dev"))

    return runner.run(program, simulated.create).named("shop-orders-topic")


@pytest.fixture
def older_topic(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the argument out that SNS's topics have in pulumi-aws from 7.49 on."""
    made = pulumi_aws.sns.Topic
    now = inspect.signature(made._internal_init)
    kept = [one for name, one in now.parameters.items() if name != "maximum_message_size"]

    def init(*arguments: Any, **more: Any) -> None:
        raise AssertionError("never called: the SDK's own __init__ is")

    init.__signature__ = now.replace(parameters=kept)  # type: ignore[attr-defined]
    monkeypatch.setattr(made, "_internal_init", init)


def test_every_argument_is_set_where_the_sdk_has_it() -> None:
    if "maximum_message_size" in inspect.signature(pulumi_aws.sns.Topic._internal_init).parameters:
        assert registered(PLAIN).inputs["maximumMessageSize"] == 262_144
    else:
        assert "maximumMessageSize" not in registered(PLAIN).inputs


@pytest.mark.usefixtures("older_topic")
def test_an_argument_at_the_cloud_s_own_default_is_left_out_for_an_older_sdk() -> None:
    topology = loads(PLAIN, source="shop.toml")
    provider = cloud_named("aws")
    plan = provider.planned(topology, AwsSettings(stack="dev"))
    topic = next(one for one in plan.resources if one.name == "orders-topic")
    assert topic.properties["maximum_message_size"] == 262_144
    assert provider.sdk.taken(topic) == {
        name: value for name, value in topic.properties.items() if name != "maximum_message_size"
    }


@pytest.mark.usefixtures("older_topic")
def test_what_says_more_than_the_default_names_both_versions() -> None:
    found = importlib.metadata.version("pulumi-aws")
    newer = planning_of("aws").sdk[1]
    with pytest.raises(ConfigError) as caught:
        cloud_named("aws").planned(loads(LARGE, source="shop.toml"), AwsSettings(stack="dev"))
    assert str(caught.value) == (
        "shop.toml: at $.topics.orders.aws.maximum_message_size: aws:sns/topic:Topic has no such argument in "
        f"pulumi-aws {found}; pulumi-aws {newer} has it"
    )


def test_a_type_that_an_older_sdk_has_not_names_the_package_both_versions_and_the_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    required = ['pulumi-azure-native<4,>=3.27; extra == "azure-stack"', "msgspec<1,>=0.19"]
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: required)
    monkeypatch.delattr(pulumi_azure_native.servicebus, "DefaultRule")
    found = importlib.metadata.version("pulumi-azure-native")
    with pytest.raises(ConfigError) as caught:
        cloud_named("azure").planned(loads(PLAIN, source="shop.toml"), None)
    assert str(caught.value) == (
        f"pulumi-azure-native {found} has no servicebus.DefaultRule, which azure-native:servicebus:DefaultRule is made "
        f"with; it takes pulumi-azure-native>=3.27,<4: pip install --upgrade {requirement('azure-stack')}"
    )


def test_a_module_that_an_older_sdk_has_not_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: None)
    with pytest.raises(ConfigError, match=r"has no nowhere\.Thing, .*; it takes a newer pulumi-azure-native: pip"):
        cloud_named("azure").sdk.resource("azure-native:nowhere:Thing")


# What a run of its own is told not to find, and then collects the tests of this folder.
WITHOUT = """
import sys
import pytest

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in sys.argv[1].split():
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
unused = [word for name in ("cacheprovider", "xdist", "xdist.looponfail") for word in ("-p", f"no:{name}")]
sys.exit(pytest.main(["--collect-only", "-qq", *unused, *sys.argv[2:]]))
"""


def test_these_tests_ask_for_no_more_than_the_extras_bring() -> None:
    """`.ci/bounds` installs what polybus itself asks for, and nothing that only other tests use."""
    root = Path(__file__).parents[2]
    project = tomllib.loads((root / "pyproject.toml").read_text())
    other = _names(project["dependency-groups"]["dev"]) - _brought()
    assert {"psycopg", "moto"} <= other
    distributions = importlib.metadata.packages_distributions()
    absent = {module for module, of in distributions.items() if {_canonical(name) for name in of} <= other}
    command = [sys.executable, "-c", WITHOUT, " ".join(absent), str(Path(__file__).parent)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def _brought() -> set[str]:
    """Name what polybus brings with all of its extras, and what that brings."""
    ahead, found = _names(importlib.metadata.requires("polybus") or ()), set[str]()
    while ahead:
        name = ahead.pop()
        found.add(name)
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):  # for another Python, or another system
            plain = [one for one in importlib.metadata.requires(name) or () if "extra ==" not in one]
            ahead |= _names(plain) - found
    return found


def _names(requirements: Iterable[str]) -> set[str]:
    return {_canonical(re.split(r"[^\w.-]", one, maxsplit=1)[0]) for one in requirements}


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
