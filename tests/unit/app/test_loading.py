"""Finding an app by module:name."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from polybus import ConfigError
from polybus.app import load

Write = Callable[[str, str], str]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Write a module into the working directory; return its name, which no other test has."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    modules = set(sys.modules)

    def write(name: str, text: str) -> str:
        path = tmp_path / f"{name.replace('.', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return name

    yield write
    for module in set(sys.modules) - modules:
        if getattr(sys.modules[module], "__file__", None) and str(tmp_path) in str(sys.modules[module].__file__):
            del sys.modules[module]


APP = "import polybus\napp = polybus.App()\n"


def test_an_app_in_the_working_directory(write: Write) -> None:
    name = write("loading_plain", APP)
    assert load(f"{name}:app") is sys.modules[name].app


def test_an_app_in_a_package_and_within_an_object(write: Write) -> None:
    write("loading_shop.__init__", "")
    name = write("loading_shop.billing", APP + "class Apps:\n    main = app\n")
    assert load(f"{name}:Apps.main") is sys.modules[name].app


@pytest.mark.parametrize("spec", ["loading_plain", "loading_plain:", ":app", ""])
def test_a_spec_of_another_form(spec: str) -> None:
    with pytest.raises(ConfigError, match="name an app as module:name, such as"):
        load(spec)


@pytest.mark.parametrize(
    ("text", "name", "said"),
    [
        (APP, "application", "has no 'application'; its apps are: app$"),
        ("import polybus\ndef mapp(): ...\n", "app", "has no 'app'; did you mean 'mapp'?"),
        ("", "xyz", r"has no 'xyz'; it has no app: write app = polybus.App\(\)"),
        (APP + "port = 5\n", "port", "is a int, not a polybus.App; its apps are: app$"),
        (
            "x = 1\nraise OSError('no database')\n",
            "app",
            r"importing it failed at .*loading_wrong.py:2: OSError: no database",
        ),
        ("def (:\n", "app", r"importing it failed at .*loading_wrong.py:1: SyntaxError"),
        ("import loading_absent\n", "app", r"failed at .*loading_wrong.py:1: ModuleNotFoundError: .*loading_absent"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(write: Write, text: str, name: str, said: str) -> None:
    write("loading_wrong", text)
    with pytest.raises(ConfigError, match=said):
        load(f"loading_wrong:{name}")


def test_a_module_that_is_not_there(write: Write, tmp_path: Path) -> None:
    write("loading_shop.__init__", "")
    with pytest.raises(ConfigError, match="there is no module 'loading_nowhere'"):
        load("loading_nowhere.billing:app")
    with pytest.raises(ConfigError, match=r"there is no module 'loading_shop\.nowhere' in " + str(tmp_path)):
        load("loading_shop.nowhere:app")


def test_a_wrong_handler_speaks_for_itself(write: Write) -> None:
    write("loading_handler", APP + "@app.handler('x')\nasync def f(): ...\n")
    with pytest.raises(
        ConfigError, match=r"^handler loading_handler\.f \(.*loading_handler.py:3\): it takes no parameters"
    ):
        load("loading_handler:app")
