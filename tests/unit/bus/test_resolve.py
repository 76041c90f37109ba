"""Which binding `connect` uses, and where it says that it came from."""

from __future__ import annotations

from pathlib import Path

import pytest

import polybus
from polybus.binding import Binding
from polybus.bus.resolve import resolve
from polybus.topology.file import loads

TOPOLOGY = '[bus]\nname = "shop"\n[queues.jobs]\n'
BINDING = Binding(backend="aws", bus="elsewhere").to_json()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    inner = tmp_path / "services" / "billing"
    inner.mkdir(parents=True)
    return inner


def found(folder: Path, environ: dict[str, str] | None = None, source: object = None) -> tuple[Binding, str]:
    return resolve(source, environ=environ or {}, start=folder)  # type: ignore[arg-type]


def test_a_topology_above_is_embedded_with_its_store_beside_it(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "polybus.toml").write_text(TOPOLOGY)
    binding, origin = found(folder)
    assert (binding.backend, binding.bus) == ("sqlite", "shop")
    assert binding.settings == {"path": str(tmp_path / ".polybus" / "bus.db")}
    assert str(tmp_path / "polybus.toml") in origin


def test_a_binding_file_wins_over_a_topology(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "polybus.toml").write_text(TOPOLOGY)
    (tmp_path / "polybus.binding.json").write_text(BINDING)
    binding, origin = found(folder)
    assert binding.backend == "aws"
    assert origin == str(tmp_path / "polybus.binding.json")


@pytest.mark.parametrize("value", ["path", "json"])
def test_the_variable_wins_over_files(folder: Path, tmp_path: Path, value: str) -> None:
    (tmp_path / "polybus.binding.json").write_text(Binding(backend="gcp", bus="file").to_json())
    (folder / "given.json").write_text(BINDING)
    text = str(folder / "given.json") if value == "path" else BINDING
    binding, origin = found(folder, {"POLYBUS_BINDING": text})
    assert binding.bus == "elsewhere"
    assert "POLYBUS_BINDING" in origin


def test_the_argument_wins_over_the_variable(folder: Path) -> None:
    mine = Binding(backend="memory", bus="mine")
    assert found(folder, {"POLYBUS_BINDING": BINDING}, mine)[0] is mine


def test_a_topology_as_argument_is_in_memory(folder: Path) -> None:
    assert found(folder, source=loads(TOPOLOGY, source="polybus.toml"))[0].backend == "memory"


def test_embedded_is_refused_on_a_platform_that_marks_itself(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "polybus.toml").write_text(TOPOLOGY)
    with pytest.raises(polybus.BindingError, match=r"runs on Kubernetes.*POLYBUS_BINDING is not set"):
        found(folder, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"})


def test_embedded_on_a_platform_can_be_meant(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "polybus.toml").write_text(TOPOLOGY)
    binding, _ = found(folder, {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "POLYBUS_BINDING": "embedded"})
    assert binding.backend == "sqlite"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("{", "Input data was truncated"),
        ('{"bus": "b"}', "missing required field `backend`"),
        ('{"backend": "aws", "bus": 3}', r"at `\$.bus`|\$.bus"),
        ('{"backend": "aws", "bus": "b", "version": 99}', r"at \$.version: found 99, this polybus reads 1"),
    ],
)
def test_a_malformed_binding_names_file_and_place(folder: Path, content: str, text: str) -> None:
    path = folder / "polybus.binding.json"
    path.write_text(content)
    with pytest.raises(polybus.BindingError, match=text) as raised:
        found(folder)
    assert str(path) in str(raised.value)


def test_nothing_found_says_what_to_do(folder: Path) -> None:
    with pytest.raises(polybus.BindingError, match=r"polybus init.*pulumi stack output"):
        found(folder)


def test_a_missing_file_is_named(folder: Path) -> None:
    with pytest.raises(polybus.BindingError, match=r"gone\.json: No such file.*POLYBUS_BINDING names it, .*pulumi"):
        found(folder, {"POLYBUS_BINDING": str(folder / "gone.json")})
