"""The log of `polybus run`: the app's own where it has one, and what each line says."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from polybus.cli.logs import Logs, _read
from polybus.errors import ConfigError

SERVICE = """\
import logging
import polybus

app = polybus.App(service="worker")

@app.handler("jobs")
async def work(body: str) -> None:
    logging.getLogger("shop.worker").info("at it", extra={"step": 3})
    print("worked", flush=True)
"""
THREAD = SERVICE.replace("async def", "def")
PROCESS = SERVICE.replace('"jobs")', '"jobs", executor="process")')
LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (.*)")


@pytest.fixture
def told(shop, spawn: Callable) -> Callable[..., tuple[str, str]]:
    """Run a service until it has handled a message; return the message's id, and what it logged."""
    shop.topology.write_text(shop.topology.read_text() + '[services.worker]\nconsumes = ["jobs"]\n')

    def run(text: str, *options: str) -> tuple[str, str]:
        (shop.folder / "service.py").write_text(text)
        process = (
            spawn(*options, "run", "service:app", cwd=shop.folder)
            if options[:1] == ("--debug",)
            else spawn("run", "service:app", *options, cwd=shop.folder)
        )
        (id,) = shop.publish("jobs", "a secret")
        assert process.stdout.readline() == "worked\n"
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        assert "a secret" not in err
        return id, err

    return run


@pytest.mark.parametrize("text", [SERVICE, THREAD, PROCESS], ids=["loop", "thread", "process"])
def test_each_line_has_the_time_and_what_is_handled(told: Callable, text: str) -> None:
    id, err = told(text)
    lines = [found[1] if (found := LINE.fullmatch(line)) else line for line in err.splitlines()]
    assert f"service=worker source=jobs message={id} INFO shop.worker: at it" in lines
    assert "service=worker INFO polybus.app: consuming from jobs on sqlite" in lines
    assert any(line.startswith("service=worker INFO polybus.app: SIGTERM: draining") for line in lines)


def test_lines_of_json(told: Callable) -> None:
    id, err = told(SERVICE, "--log-format", "json")
    lines = [json.loads(line) for line in err.splitlines()]
    mine = next(line for line in lines if line["logger"] == "shop.worker")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", mine.pop("time"))
    assert mine == {
        "level": "INFO",
        "logger": "shop.worker",
        "service": "worker",
        "source": "jobs",
        "message_id": id,
        "message": "at it",
        "step": 3,
    }


def test_two_apps_lines_can_be_told_apart(shop, spawn: Callable) -> None:
    services = '[services.one]\nconsumes = ["jobs"]\n[services.two]\nconsumes = ["keyed"]\n'
    shop.topology.write_text(shop.topology.read_text() + services)
    for name, source in (("one", "jobs"), ("two", "keyed")):
        text = SERVICE.replace('"jobs"', f'"{source}"').replace('service="worker"', f'service="{name}"')
        (shop.folder / f"{name}.py").write_text(text)
    process = spawn("run", "one:app", "two:app", "--log-format", "json", cwd=shop.folder)
    shop.publish("jobs", "a")
    shop.publish("keyed", "b")
    for _ in range(2):
        process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    lines = [json.loads(line) for line in err.splitlines()]
    assert lines[-1]["message"].startswith("SIGTERM: draining")
    assert lines[-1]["service"] == "one+two"
    assert {(line["service"], line["source"]) for line in lines if line["logger"] == "shop.worker"} == {
        ("one", "jobs"),
        ("two", "keyed"),
    }


OWN = 'import logging\nlogging.basicConfig(format="mine %(message)s", level="INFO")\n'


def test_what_an_app_sets_up_is_left(told: Callable) -> None:
    _, err = told(OWN + SERVICE)
    assert "mine at it" in err.splitlines()
    assert "polybus.app:" not in err


def test_an_apps_level_is_changed_where_that_is_asked_for(told: Callable) -> None:
    assert told(OWN + SERVICE, "--log-level", "warning")[1] == ""


def test_a_format_that_is_asked_for_goes_before_what_an_app_sets_up(told: Callable) -> None:
    _, err = told(OWN + SERVICE, "--log-format", "json")
    assert all(json.loads(line) for line in err.splitlines())


def test_libraries_of_clouds_are_quiet_at_debug_too_and_as_an_app_says(told: Callable) -> None:
    """Their requests, which they write at DEBUG, have the bodies in them."""
    says = (
        '    logging.getLogger("botocore.endpoint").debug("a request")\n'
        '    logging.getLogger("google.api").debug("another")\n'
        '    print("worked", flush=True)\n'
    )
    text = SERVICE.replace('    print("worked", flush=True)\n', says)
    _, err = told('import logging\nlogging.getLogger("google").setLevel("DEBUG")\n' + text, "--log-level", "debug")
    assert "a request" not in err
    assert "google.api: another" in err
    assert "a request" in told(text, "--debug")[1]


@pytest.mark.parametrize("suffix", [".json", ".ini"])
def test_a_configuration_from_a_file(told: Callable, shop, suffix: str) -> None:
    name = f"logs{suffix}"
    (shop.folder / name).write_text(CONFIGURATIONS[suffix])
    id, err = told(OWN + SERVICE, "--log-config", name)
    assert err.splitlines()[-1].startswith("file ")
    assert "file at it" in err
    assert id not in err


CONFIGURATIONS = {
    ".json": json.dumps(
        {
            "formatters": {"f": {"format": "file %(message)s"}},
            "handlers": {"h": {"class": "logging.StreamHandler", "formatter": "f"}},
            "root": {"level": "INFO", "handlers": ["h"]},
        }
    ),
    ".ini": """\
[loggers]
keys = root
[handlers]
keys = h
[formatters]
keys = f
[logger_root]
level = INFO
handlers = h
[handler_h]
class = StreamHandler
formatter = f
args = ()
[formatter_f]
format = file %(message)s
""",
}


def test_our_formatters_can_be_named_in_a_file(told: Callable, shop) -> None:
    config = json.loads(CONFIGURATIONS[".json"])
    config["formatters"]["f"] = {"()": "polybus.app.logs.JsonFormatter"}
    (shop.folder / "logs.json").write_text(json.dumps(config))
    id, err = told(SERVICE, "--log-config", "logs.json")
    assert id in [json.loads(line).get("message_id") for line in err.splitlines()]


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("logs.json", None, "No such file or directory"),
        ("logs.json", "{", "no configuration of logging"),
        ("logs.json", "[]", "expected an object"),
        ("logs.toml", 'handlers.h = { class = "nowhere.Handler" }', "nowhere"),
        ("logs.ini", "x", "no configuration of logging"),
    ],
)
def test_a_configuration_that_is_wrong(tmp_path: Path, name: str, text: str | None, says: str) -> None:
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError) as raised:
        Logs(level=None, format=None, config=path).before()
    assert str(raised.value).startswith(f"{path}: ")
    assert says in str(raised.value)


def test_toml_says_what_json_does(tmp_path: Path) -> None:
    toml = tmp_path / "logs.toml"
    toml.write_text(
        'root = { level = "INFO", handlers = ["h"] }\n'
        'handlers.h = { class = "logging.StreamHandler", formatter = "f" }\n'
        'formatters.f = { format = "file %(message)s" }\n'
    )
    assert _read(toml) == json.loads(CONFIGURATIONS[".json"])


def test_what_ends_it_is_json_too(shop, spawn: Callable) -> None:
    (shop.folder / "service.py").write_text("1/0")
    process = spawn("run", "service:app", "--log-format", "json", cwd=shop.folder)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert json.loads(err)["level"] == "CRITICAL"
    assert "ZeroDivisionError" in json.loads(err)["message"]


@pytest.mark.parametrize(
    "options", [("--quiet", "--log-level", "info"), ("--log-config", "x", "--log-format", "json"), ("--log-level", "x")]
)
def test_options_that_contradict_each_other(shop, cli: Callable, options: tuple[str, ...]) -> None:
    assert cli("run", "service:app", *options).code == 2
