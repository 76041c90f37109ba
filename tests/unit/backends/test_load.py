"""Backends by name."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from polybus.binding import Binding
from polybus.clock import ManualClock
from polybus.errors import BindingError, MissingExtra
from polybus.installed import requirement
from polybus.registry import load, names


@pytest.mark.parametrize("name", ["memory", "sqlite"])
def test_the_embedded_backends_are_there(name: str) -> None:
    assert name in names()
    assert callable(load(name))


def test_an_unknown_name_names_what_there_is() -> None:
    with pytest.raises(BindingError, match=r"no backend named 'sqlight'; there are: memory, .*did you mean 'sqlite'"):
        load("sqlight")


def test_a_missing_sdk_is_told_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [name for name in sys.modules if name.split(".")[0] in ("boto3", "botocore")]:
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setitem(sys.modules, "boto3", None)
    monkeypatch.setitem(sys.modules, "botocore", None)
    for module in [name for name in sys.modules if name.startswith("polybus.clouds.aws.driver")]:
        monkeypatch.delitem(sys.modules, module)
    with pytest.raises(MissingExtra, match=re.escape(f"pip install {requirement('aws')}")):
        load("aws")(Binding(backend="aws", bus="b", settings={"region": "eu-west-1"}), ManualClock())


def test_what_is_missing_is_named_as_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [name for name in sys.modules if name.startswith(("google.pubsub_v1", "polybus.clouds.gcp.driver"))]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "google.pubsub_v1", None)
    with pytest.raises(MissingExtra, match="the gcp backend needs google-cloud-pubsub, which is not installed"):
        load("gcp")(Binding(backend="gcp", bus="b", settings={"project": "p"}), ManualClock())


@pytest.fixture
def third_party(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Install a distribution that registers one backend that is there and one that isn't."""
    info = tmp_path / "nats_for_polybus-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: nats-for-polybus\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[polybus.clouds]\nnats = nats_for_polybus:driver\nbroken = nats_for_polybus:nothing\n"
    )
    (tmp_path / "nats_for_polybus.py").write_text("def driver(binding, clock):\n    return 'a driver'\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return "nats"


def test_an_installed_package_can_register_one(third_party: str) -> None:
    assert third_party in names()
    assert load(third_party)(Binding(backend="nats", bus="b"), ManualClock()) == "a driver"


def test_a_registration_that_leads_nowhere_names_its_package(third_party: str) -> None:
    with pytest.raises(BindingError, match="nats-for-polybus registers 'nats_for_polybus:nothing'"):
        load("broken")
