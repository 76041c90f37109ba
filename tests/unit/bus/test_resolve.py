"""Which binding `connect` uses, and where it says that it came from."""

from __future__ import annotations

from pathlib import Path

import pytest

import polybus
from polybus.binding import Binding
from polybus.bus.resolve import find, resolve
from polybus.topology.file import loads
from polybus.variables import VARIABLES, misspelt

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


@pytest.mark.parametrize(
    ("variable", "value", "platform"),
    [
        ("KUBERNETES_SERVICE_HOST", "10.0.0.1", "Kubernetes"),
        ("AWS_LAMBDA_FUNCTION_NAME", "f", "AWS Lambda"),
        ("AWS_EXECUTION_ENV", "AWS_ECS_FARGATE", "AWS_ECS_FARGATE"),
        ("ECS_CONTAINER_METADATA_URI", "http://169.254.170.2/v3", "Amazon ECS"),
        ("ECS_CONTAINER_METADATA_URI_V4", "http://169.254.170.2/v4", "Amazon ECS"),
        ("K_SERVICE", "billing", "Cloud Run"),
        ("CLOUD_RUN_JOB", "billing", "Cloud Run"),
        ("WEBSITE_SITE_NAME", "billing", "Azure App Service"),
        ("FUNCTIONS_WORKER_RUNTIME", "python", "Azure Functions"),
        ("CONTAINER_APP_NAME", "billing", "Azure Container Apps"),
    ],
)
def test_each_platform_is_known_by_its_mark(
    folder: Path, tmp_path: Path, variable: str, value: str, platform: str
) -> None:
    (tmp_path / "polybus.toml").write_text(TOPOLOGY)
    with pytest.raises(polybus.BindingError, match=rf"runs on .*{platform}.*POLYBUS_BINDING"):
        found(folder, {variable: value})
    assert found(folder, {variable: value, "POLYBUS_BINDING": "embedded"})[0].backend == "sqlite"


def test_a_terminal_in_aws_is_no_deployment(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "polybus.toml").write_text(TOPOLOGY)
    assert found(folder, {"AWS_EXECUTION_ENV": "CloudShell"})[0].backend == "sqlite"


def test_embedded_that_nothing_asked_for_is_doubted(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "polybus.toml").write_text(TOPOLOGY)
    doubt = find(environ={}, start=folder).doubt
    assert "POLYBUS_BINDING is not set" in doubt
    assert str(tmp_path / "polybus.toml") in doubt
    assert find(environ={"POLYBUS_BINDING": "embedded"}, start=folder).doubt == ""
    assert find(tmp_path / "polybus.toml", environ={}, start=folder).doubt == ""
    (tmp_path / "polybus.binding.json").write_text(BINDING)
    assert find(environ={}, start=folder).doubt == ""


@pytest.mark.parametrize(
    "name", ["POLYBUS_BINDNG", "POLYBUS_BINDINGS", "POLYBUS_BIND", "polybus_binding", "POLIBUS_BINDING"]
)
def test_a_misspelt_variable_is_named_and_nothing_else_is_taken(folder: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(polybus.BindingError, match=rf"{name} is.*did you mean POLYBUS_BINDING\?"):
        found(folder, {name: "/etc/polybus/binding.json"})
    (tmp_path / "polybus.toml").write_text(TOPOLOGY)
    with pytest.raises(polybus.BindingError, match=rf"{name} is.*did you mean POLYBUS_BINDING\?"):
        found(folder, {name: "/etc/polybus/binding.json"})
    assert found(folder, {name: "x", "POLYBUS_BINDING": "embedded"})[0].backend == "sqlite"


def test_other_names_are_no_slips() -> None:
    others = dict.fromkeys(("POLYBUS_LIVE", "POLYBUS_CONFORMANCE_SEED", "PATH", "DBUS_SESSION_BUS_ADDRESS"), "1")
    assert misspelt({**others, **dict.fromkeys(VARIABLES, "1")}) == {}
    assert misspelt({"POLYBUS_OTLE": "1", "POLYBUS_REQUIRED_BINDING": "1"}) == {
        "POLYBUS_OTLE": "POLYBUS_OTEL",
        "POLYBUS_REQUIRED_BINDING": "POLYBUS_REQUIRE_BINDING",
    }


def test_an_empty_variable_is_not_taken_for_embedded(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "polybus.toml").write_text(TOPOLOGY)
    with pytest.raises(polybus.BindingError, match="POLYBUS_BINDING is set, and empty"):
        found(folder, {"POLYBUS_BINDING": " "})


def test_a_required_binding_may_be_embedded_by_name_alone(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "polybus.toml").write_text(TOPOLOGY)
    with pytest.raises(polybus.BindingError, match="a binding is required"):
        found(folder, {"POLYBUS_REQUIRE_BINDING": "1"})
    assert found(folder, {"POLYBUS_REQUIRE_BINDING": "1", "POLYBUS_BINDING": "embedded"})[0].backend == "sqlite"


async def test_a_bus_that_nothing_asked_to_be_embedded_says_so_and_says_it_again_when_pinged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "polybus.toml").write_text(TOPOLOGY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("POLYBUS_BINDING", raising=False)
    clock = polybus.ManualClock()
    async with polybus.connect(clock=clock) as bus:
        assert warnings_of(caplog) == 1
        await bus.ping()
        assert warnings_of(caplog) == 1
        await clock.advance(60.0)
        await bus.ping()
        assert warnings_of(caplog) == 2
    monkeypatch.setenv("POLYBUS_BINDING", "embedded")
    async with polybus.connect(clock=clock) as bus:
        await bus.ping()
    assert warnings_of(caplog) == 2


def warnings_of(caplog: pytest.LogCaptureFixture) -> int:
    return sum("nothing asked for the embedded backend" in record.getMessage() for record in caplog.records)


def test_the_binding_of_a_local_cloud_that_is_down_says_so(folder: Path) -> None:
    gone = folder / ".polybus" / "local" / "aws.binding.json"
    with pytest.raises(polybus.BindingError, match=r"local cloud is down.*up --cloud aws`.*unset POLYBUS_BINDING"):
        found(folder, {"POLYBUS_BINDING": str(gone)})
