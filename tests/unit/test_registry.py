"""Clouds by name: what polybus registers, what packages register, and parts that a cloud doesn't have."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest

from polybus.cli import local_clouds
from polybus.cloud import INTERFACE, Cloud
from polybus.errors import BindingError, ConfigError, MissingExtra, UnsupportedFeature
from polybus.plan.planning import planning_of
from polybus.registry import BUILT_IN, GROUP, find, names, offering

ROOT = Path(__file__).parents[2]
# Rooms that are one cloud's own, or a server that stands in for it.
OWN = ("clouds", "localcloud", "embedded")


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Install a distribution without modules; tests write what it registers."""
    info = tmp_path / "acme_for_polybus-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-for-polybus\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def register(folder: Path, name: str, module: str, code: str, attribute: str = "CLOUD") -> None:
    (folder / f"{module}.py").write_text(code)
    (folder / "acme_for_polybus-1.0.dist-info" / "entry_points.txt").write_text(
        f"[polybus.clouds]\n{name} = {module}:{attribute}\n"
    )


def cloud(**given: object) -> str:
    shown = ", ".join(f"{key}={value!r}" for key, value in given.items())
    return f"from polybus.cloud import Cloud\nCLOUD = Cloud({shown})\n"


def test_polybus_registers_its_own_by_the_same_door() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"][GROUP]
    assert declared == BUILT_IN
    assert all(find(name).name == name for name in BUILT_IN)


def test_every_part_of_a_built_in_cloud_is_there() -> None:
    for name in BUILT_IN:
        found = find(name)
        for part in ("driver", "planning", "provider", "live", "local"):
            assert not found.offers(part) or found.load(part) is not None


def test_a_part_that_a_cloud_lacks_is_refused_by_name() -> None:
    assert "memory" not in offering("planning")
    with pytest.raises(UnsupportedFeature, match="the memory backend has no plan"):
        planning_of("memory")
    with pytest.raises(UnsupportedFeature, match="the sqlite backend has no local server"):
        find("sqlite").load("local")


def test_a_package_adds_a_cloud_with_what_it_has(installed: Path) -> None:
    register(installed, "acme", "acme_one", cloud(name="acme", title="Acme", driver="acme_one:driver", local="x:y"))
    assert find("acme").title == "Acme"
    assert "acme" in names()
    assert "acme" in offering("local")
    assert "acme" not in offering("planning")
    with pytest.raises(ConfigError, match="acme: 'x:y' can't be loaded"):
        find("acme").load("local")


def test_what_is_installed_later_is_found_and_what_is_removed_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "acme" not in names()
    info = tmp_path / "acme_for_polybus-1.0.dist-info"
    staged = tmp_path.parent / "staged"
    staged.mkdir()
    (staged / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-for-polybus\nVersion: 1.0\n")
    (staged / "entry_points.txt").write_text("[polybus.clouds]\nacme = acme_later:CLOUD\n")
    staged.rename(info)
    assert "acme" in names()
    info.rename(staged)
    assert "acme" not in names()


@pytest.mark.parametrize(
    ("name", "module", "code", "words"),
    [
        ("acme", "acme_two", cloud(name="other", title="", driver="a:b"), "whose name is 'other'"),
        (
            "acme",
            "acme_three",
            cloud(name="acme", title="", driver="a:b", interface=INTERFACE + 1),
            "written for version",
        ),
        ("acme", "acme_four", "CLOUD = 7\n", "neither a polybus.cloud.Cloud nor a driver's factory"),
        ("acme", "acme_five", "raise ImportError('no such thing')\n", "can't be loaded: no such thing"),
    ],
)
def test_a_cloud_that_can_not_be_is_named_with_its_package(
    installed: Path, caplog: pytest.LogCaptureFixture, name: str, module: str, code: str, words: str
) -> None:
    register(installed, name, module, code)
    with pytest.raises(BindingError, match=words) as caught:
        find(name)
    assert "acme-for-polybus" in str(caught.value)
    assert offering("planning")[:3] == ("aws", "azure", "gcp")  # the others aren't lost with it
    assert words.rsplit(maxsplit=1)[-1] in caplog.text


def test_a_driver_alone_is_a_cloud(installed: Path) -> None:
    register(installed, "acme", "acme_six", "def driver(binding, clock): ...\n", "driver")
    assert find("acme") == Cloud(name="acme", title="acme", driver="acme_six:driver")


def test_what_another_packages_cloud_needs_is_installed_by_its_own_name(installed: Path) -> None:
    code = cloud(
        name="acme", title="", driver="acme_eight:x", local="acme_nine:LOCAL", packages={"acme_sdk": "acme-sdk"}
    )
    register(installed, "acme", "acme_seven", code)
    (installed / "acme_eight.py").write_text("import acme_sdk\n")
    local = "from polybus.plan.planning import Local\nLOCAL = Local(('acme_sdk.part',), None, None, None, 1.0)\n"
    (installed / "acme_nine.py").write_text(local)
    with pytest.raises(
        MissingExtra, match=r"the acme backend needs acme-sdk, which is not installed: pip install acme-sdk$"
    ):
        find("acme").load("driver")
    with pytest.raises(MissingExtra, match=r"local acme.* is not installed: pip install acme-sdk$"):
        local_clouds.load("acme", port=0, data=None)


def test_a_package_may_still_be_registered_where_drivers_were_before(installed: Path) -> None:
    (installed / "acme_former.py").write_text("def driver(binding, clock): ...\n")
    (installed / "acme_for_polybus-1.0.dist-info" / "entry_points.txt").write_text(
        "[polybus.backends]\nacme = acme_former:driver\n"
    )
    with pytest.warns(DeprecationWarning, match=r"acme-for-polybus registers .* it is 'polybus.clouds' from 0.2 on"):
        assert find("acme").driver == "acme_former:driver"


def test_nothing_outside_a_clouds_folder_imports_from_it() -> None:
    source = ROOT / "src" / "polybus"
    found = set()
    for path in source.rglob("*.py"):
        room = path.relative_to(source).parts[0]
        if room in OWN:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            found |= {(room, module.split(".")[2]) for module in modules if module.startswith("polybus.clouds.")}
    # Functions for one cloud's own serverless platform read that cloud's messages; provisioning's types name settings.
    assert {room for room, _ in found} <= {"serverless", "provision"}


# A server that is no cloud here, but where processes of one service keep what they share.
STORES = frozenset(("flow.py", "flow_redis.py", "once/redis.py", "once/__init__.py"))


def test_polybus_does_not_know_the_cloud_from_outside() -> None:
    outside = tomllib.loads((ROOT / "examples/redis_cloud/pyproject.toml").read_text())["project"]
    [name] = outside["entry-points"][GROUP]
    source = ROOT / "src" / "polybus"
    found = {
        path.relative_to(source).as_posix()
        for path in source.rglob("*")
        if path.is_file() and path.suffix != ".pyc" and name.encode() in path.read_bytes().lower()
    }
    assert found <= STORES
