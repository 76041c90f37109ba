"""`polybus run`: services as processes."""

from __future__ import annotations

import json
import os
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

SERVICE = """\
import polybus

app = polybus.App()

@app.handler("jobs")
async def work(body: str) -> None:
    print(f"worked on {body}\\n", end="", flush=True)
"""

OTHER = """\
import polybus

app = polybus.App()

@app.handler("keyed")
def other(body: str) -> None:
    print(f"other got {body}\\n", end="", flush=True)
"""


def write(path: Path, text: str) -> None:
    """Write a file that is seen to have changed, whatever the file system's clock."""
    path.write_text(text)
    stamp = time.time_ns() + 1_000_000_000
    os.utime(path, ns=(stamp, stamp))


def test_several_apps_in_one_process_until_sigterm(shop, spawn: Callable) -> None:
    (shop.folder / "service.py").write_text(SERVICE)
    (shop.folder / "other.py").write_text(OTHER)
    process = spawn("run", "service:app", "other:app", cwd=shop.folder)
    shop.publish("jobs", "a")
    shop.publish("keyed", "b")
    assert {process.stdout.readline(), process.stdout.readline()} == {"worked on a\n", "other got b\n"}
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "draining" in err
    assert "Traceback" not in err


UVLOOP = """\
import asyncio

__version__ = "0.0"

class Loop(asyncio.SelectorEventLoop):
    pass

new_event_loop = Loop
"""


def test_services_run_on_uvloop_where_it_is_installed(shop, spawn: Callable) -> None:
    (shop.folder / "uvloop.py").write_text(UVLOOP)
    (shop.folder / "service.py").write_text(
        f"import asyncio\n{SERVICE}    print(type(asyncio.get_running_loop()).__module__, flush=True)\n"
    )
    process = spawn("run", "service:app", cwd=shop.folder)
    shop.publish("jobs", "a")
    assert (process.stdout.readline(), process.stdout.readline()) == ("worked on a\n", "uvloop\n")
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "services run on uvloop 0.0" in err


def test_the_log_has_only_the_warnings_of_the_clouds_libraries(shop, spawn: Callable) -> None:
    says = '    logging.getLogger("azure.servicebus._pyamqp").'
    lines = ("import logging", SERVICE, f'{says}info("link state changed")', f'{says}warning("link broken")')
    (shop.folder / "service.py").write_text("\n".join(lines))
    process = spawn("run", "service:app", cwd=shop.folder)
    shop.publish("jobs", "a")
    assert process.stdout.readline() == "worked on a\n"
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert "WARNING azure.servicebus._pyamqp: link broken" in err
    assert "link state changed" not in err


def test_ctrl_c_drains_too(shop, spawn: Callable) -> None:
    (shop.folder / "service.py").write_text(SERVICE)
    process = spawn("run", "service:app", "--quiet", cwd=shop.folder)
    shop.publish("jobs", "a")
    assert process.stdout.readline() == "worked on a\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")


@pytest.mark.parametrize("options", [(), ("--reload",)])
def test_a_sigint_that_was_ignored_at_the_start_stays_so(shop, spawn: Callable, options: tuple[str, ...]) -> None:
    """As in the background of a script, whose Ctrl-C is for others."""
    (shop.folder / "service.py").write_text(SERVICE)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # until the end of the test: `spawn` sees to it
    process = spawn("run", "service:app", *options, cwd=shop.folder)
    shop.publish("jobs", "a")
    assert process.stdout.readline() == "worked on a\n"
    process.send_signal(signal.SIGINT)
    shop.publish("jobs", "b")
    assert process.stdout.readline() == "worked on b\n"
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "SIGINT" not in err


def test_health_answers_live_and_ready(shop, spawn: Callable, unused_tcp_port: int) -> None:
    (shop.folder / "service.py").write_text(SERVICE)
    process = spawn("run", "service:app", "--health", str(unused_tcp_port), cwd=shop.folder)
    shop.publish("jobs", "a")
    process.stdout.readline()
    for path in ("live", "ready"):
        with urllib.request.urlopen(f"http://127.0.0.1:{unused_tcp_port}/{path}", timeout=60) as answer:
            assert answer.status == 200
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(f"http://127.0.0.1:{unused_tcp_port}/other", timeout=60)


def test_health_on_one_interface(shop, spawn: Callable, unused_tcp_port: int) -> None:
    (shop.folder / "service.py").write_text(SERVICE)
    process = spawn("run", "service:app", "--health", f"127.0.0.1:{unused_tcp_port}", cwd=shop.folder)
    assert f"on port {unused_tcp_port} of 127.0.0.1" in process.stderr.readline()
    with urllib.request.urlopen(f"http://127.0.0.1:{unused_tcp_port}/live", timeout=60) as answer:
        assert answer.status == 200


@pytest.mark.parametrize("address", ["x", ":80", "-1", "65536", "localhost:", "localhost:x"])
def test_what_is_no_address_for_health(cli: Callable, shop, address: str) -> None:
    result = cli("run", "service:app", f"--health={address}")
    assert result.code == 2
    assert "write 8080, 127.0.0.1:8080 or [::1]:8080" in result.err


@pytest.mark.parametrize(
    ("text", "address"),
    [("0", (None, 0)), ("127.0.0.1:80", ("127.0.0.1", 80)), ("[::1]:80", ("::1", 80)), ("host:65535", ("host", 65535))],
)
def test_addresses_for_health(text: str, address: tuple[str | None, int]) -> None:
    from polybus.cli.run import _address

    assert _address(text, "--health") == address


def test_binding_goes_before_what_the_folder_says(shop, spawn: Callable, tmp_path_factory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "service.py").write_text(SERVICE)
    process = spawn("run", "service:app", "--binding", str(shop.topology), cwd=elsewhere)
    shop.publish("jobs", "a")
    assert process.stdout.readline() == "worked on a\n"


def test_reload_runs_the_new_code(shop, spawn: Callable) -> None:
    service = shop.folder / "service.py"
    service.write_text(SERVICE)
    process = spawn("run", "service:app", "--reload", "--quiet", cwd=shop.folder)
    shop.publish("jobs", "a")
    assert process.stdout.readline() == "worked on a\n"
    write(service, SERVICE.replace("worked on", "newly worked on"))
    assert "service.py changed, starting again" in process.stderr.readline()
    shop.publish("jobs", "b")
    assert process.stdout.readline() in ("newly worked on b\n", "worked on b\n")  # b may be the old one's last
    shop.publish("jobs", "c")
    assert process.stdout.readline() == "newly worked on c\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 0


def test_reload_survives_a_mistake(shop, spawn: Callable) -> None:
    service = shop.folder / "service.py"
    service.write_text("import polybus\napp = polybus.Ap()\n")
    process = spawn("run", "service:app", "--reload", "--quiet", cwd=shop.folder)
    assert "importing it failed at" in process.stderr.readline()
    write(service, SERVICE)
    shop.publish("jobs", "a")
    assert process.stdout.readline() == "worked on a\n"


@pytest.mark.parametrize(
    ("spec", "text", "says"),
    [
        ("missing:app", "", "there is no module 'missing'"),
        ("service:ap", SERVICE, "its apps are: app"),
        ("service", SERVICE, "name an app as module:name"),
        ("service:polybus", SERVICE, "is a module, not a polybus.App; its apps are: app"),
        ("service:app", "1/0\n", "ZeroDivisionError: division by zero"),
        ("service:app", "def (\n", "SyntaxError"),
        ("service:app", SERVICE.replace('"jobs"', '"job"'), "did you mean 'jobs'?"),
        ("service:app", SERVICE.replace("body: str", "body: set[object]"), "service.work"),
        ("service:app", SERVICE.replace("polybus.App()", 'polybus.App(service="shop")'), "has not declared 'jobs'"),
    ],
)
def test_what_can_not_run_says_why_in_one_line(shop, spawn: Callable, spec: str, text: str, says: str) -> None:
    (shop.folder / "service.py").write_text(text)
    process = spawn("run", "--quiet", spec, cwd=shop.folder)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert out == ""
    assert says in err
    assert err.count("\n") == 1, err


def test_a_port_that_is_taken(shop, spawn: Callable, unused_tcp_port_factory: Callable) -> None:
    import socket

    (shop.folder / "service.py").write_text(SERVICE)
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        process = spawn("run", "--quiet", "service:app", "--health", str(taken.getsockname()[1]), cwd=shop.folder)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "choose another with --health" in err
    assert err.count("\n") == 1


def test_otel_makes_a_trace(shop, spawn: Callable) -> None:
    (shop.folder / "service.py").write_text(
        "from opentelemetry import trace\n"
        "from opentelemetry.sdk.trace import TracerProvider\n"
        "from opentelemetry.sdk.trace.export import SimpleSpanProcessor, ConsoleSpanExporter\n"
        "def name(span): return span.name + '\\n'\n"
        "provider = TracerProvider()\n"
        "provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(formatter=name)))\n"
        "trace.set_tracer_provider(provider)\n" + SERVICE
    )
    process = spawn("run", "service:app", "--otel", cwd=shop.folder)
    shop.publish("jobs", "a")
    assert {process.stdout.readline() for _ in range(2)} == {"worked on a\n", "process jobs\n"}


def test_debug_logs_what_the_bus_does(shop, spawn: Callable) -> None:
    (shop.folder / "service.py").write_text(SERVICE)
    process = spawn("--debug", "run", "service:app", cwd=shop.folder)
    shop.publish("jobs", json.dumps("a"))
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert "DEBUG" in err


def test_embedded_that_nothing_asked_for_is_a_warning(shop, spawn: Callable) -> None:
    """A misspelt variable, or none: the service must not write to its own disk without a word."""
    (shop.folder / "service.py").write_text(SERVICE)
    process = spawn("run", "service:app", "--quiet", cwd=shop.folder, environment={"POLYBUS_BINDING": None})
    shop.publish("jobs", "a")
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "WARNING polybus: bus 'shop': nothing asked for the embedded backend" in err


def test_a_binding_can_be_required(shop, spawn: Callable) -> None:
    (shop.folder / "service.py").write_text(SERVICE)
    process = spawn("run", "service:app", "--require-binding", cwd=shop.folder, environment={"POLYBUS_BINDING": None})
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "a binding is required" in err
    assert not (shop.folder / ".polybus").exists()
