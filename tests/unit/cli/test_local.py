"""`polybus local`: it starts a cloud with all that is declared, says how to use it, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

import polybus
from polybus.binding import Binding
from polybus.cli.init import BODY
from polybus.cli.local_clouds import load
from polybus.installed import requirement

UP = ("local", "up", "--cloud", "aws")


def contents(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def until_ready(process: subprocess.Popen[str]) -> str:
    """Return all that it prints until it is ready; fails where it ends before."""
    said = ""
    for line in process.stdout:
        said += line
        if line.startswith("Ctrl-C"):
            return said
    raise AssertionError(said + process.stderr.read())


@pytest.fixture
def down(cli: Callable, shop) -> Iterator[None]:
    """End what a test leaves running in the shop's folder."""
    yield
    cli("local", "down")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_up_serves_until_a_signal_and_leaves_nothing(cli: Callable, shop, spawn: Callable, number: int) -> None:
    process = spawn(*UP, cwd=shop.folder)
    said = until_ready(process)
    binding = shop.folder / ".polybus" / "local" / "aws.binding.json"
    assert f"export POLYBUS_BINDING={binding}" in said
    assert Binding.from_file(binding).backend == "aws"
    process.send_signal(number)
    assert process.wait(timeout=60) == 0
    assert process.stderr.read() == ""
    assert contents(shop.folder) == {"polybus.toml"}


def test_large_bodies_are_in_a_folder_which_is_told_and_ends_with_it(shop, spawn: Callable) -> None:
    topology = shop.folder / "polybus.toml"
    topology.write_text(f'large_bodies = {{ over = "200KiB" }}\n{topology.read_text()}')
    process = spawn(*UP, cwd=shop.folder)
    said = until_ready(process)
    found = Binding.from_file(shop.folder / ".polybus" / "local" / "aws.binding.json").bodies
    assert found is not None
    assert found.url == (shop.folder / ".polybus" / "local" / "aws.stacks" / "bodies").as_uri()
    assert found.over == 200 * 1_024
    assert f"large bodies are in a folder, since the local aws has no store: {found.url}" in said
    process.terminate()
    assert process.wait(timeout=60) == 0
    assert contents(shop.folder) == {"polybus.toml"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_signal_that_was_ignored_at_the_start_stays_so(shop, spawn: Callable, number: int) -> None:
    """As in the background of a script, or under nohup."""
    before = signal.signal(number, signal.SIG_IGN)
    try:
        process = spawn(*UP, cwd=shop.folder)
    finally:
        signal.signal(number, before)
    until_ready(process)
    status = Path(f"/proc/{process.pid}/status")
    if status.exists():  # where the system tells, the signal need not be sent and waited for in vain
        ignored = next(line.split()[1] for line in status.read_text().splitlines() if line.startswith("SigIgn"))
        assert int(ignored, 16) >> (number - 1) & 1
    process.send_signal(number)
    process.terminate()
    assert process.wait(timeout=60) == 0


FILTERED = """\
[topics.orders]
[subscriptions.elsewhere]
topic = "orders"
clouds = ["gcp"]
[subscriptions.billing]
topic = "orders"
filter = 'region in ("e u", "uk")'
"""


@pytest.mark.parametrize(
    ("topology", "given"),
    [
        (FILTERED, ["--attribute", "region=e u"]),
        ('[topics.orders]\nordered = true\n[subscriptions.billing]\ntopic = "orders"\n', ["--key", "first"]),
    ],
    ids=["filter", "ordered"],
)
def test_what_it_says_to_publish_comes_to_a_subscription(
    topology: str, given: list[str], cli: Callable, shop, down: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    (shop.folder / "polybus.toml").write_text(f'[bus]\nname = "shop"\n{topology}')
    up = cli("local", "up", "--cloud", "aws", "--background")
    assert up.code == 0, up.err
    (line,) = [line for line in up.out.splitlines() if line.startswith("  polybus publish ")]
    _, *words = shlex.split(line)
    assert words == ["publish", "orders", BODY, *given]
    for name, value in cli("local", "env", "--json").json().items():
        monkeypatch.setenv(name, value)
    assert cli(*words).code == 0
    assert cli("stats", "--json").json()["billing"]["waiting"] == 1


@pytest.mark.parametrize("cloud", ["aws", "gcp"])
def test_a_proxy_is_not_asked_for_what_is_here(
    cloud: str, cli: Callable, shop, down: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("NO_PROXY", "intranet, localhost")
    (shop.folder / "polybus.toml").write_text('[bus]\nname = "shop"\n[queues.jobs]\n')  # what every cloud can
    up = cli("local", "up", "--cloud", cloud, "--background")
    assert up.code == 0, up.err
    said = cli("local", "env", "--json").json()
    assert said["NO_PROXY"] == said["no_proxy"] == "intranet,localhost,127.0.0.1,::1"


@pytest.mark.parametrize("cloud", ["aws", "azure", "gcp"])
def test_with_tls_services_and_every_language_are_told_whom_to_trust(
    cloud: str, cli: Callable, shop, down: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    (shop.folder / "polybus.toml").write_text('[bus]\nname = "shop"\n[queues.jobs]\n')  # what every cloud can
    up = cli("local", "up", "--cloud", cloud, "--tls", "--background")
    assert up.code == 0, up.err
    for language, name in (("node", "NODE_EXTRA_CA_CERTS"), ("go", "SSL_CERT_FILE"), ("java", "JAVA_TOOL_OPTIONS")):
        found = cli("local", "env", "--for", language, "--json").json()
        assert "BEGIN CERTIFICATE" in Path(found[name]).read_text() if language != "java" else ".jks" in found[name]
    for name, value in cli("local", "env", "--json").json().items():
        monkeypatch.setenv(name, value)
    if cloud == "aws":
        assert os.environ["AWS_ENDPOINT_URL"].startswith("https://")
    published = cli("publish", "jobs", "{}")
    assert published.code == 0, published.err


def test_what_it_prints_is_all_that_a_service_needs(
    cli: Callable, shop, spawn: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = spawn(*UP, cwd=shop.folder)
    example = next(line for line in until_ready(process).splitlines() if "polybus publish" in line)
    for line in cli("local", "env").out.splitlines():
        name, _, value = shlex.split(line.removeprefix("export "))[0].partition("=")
        monkeypatch.setenv(name, value)
    published = cli(*shlex.split(example)[1:])
    assert published.code == 0, published.err
    assert cli("stats", "jobs", "--json").json()["jobs"]["waiting"] == 1


def test_files_where_they_are_asked_for(shop, spawn: Callable) -> None:
    binding, variables = shop.folder / "out" / "binding.json", shop.folder / "out" / "cloud.env"
    process = spawn(*UP, "--binding", str(binding), "--env-file", str(variables), cwd=shop.folder)
    assert process.stdout.readline().startswith("local aws is ready")  # by then they are there
    found = dict(line.split("=", 1) for line in variables.read_text().splitlines())
    assert found["POLYBUS_BINDING"] == str(binding)
    assert found["AWS_ENDPOINT_URL"] == Binding.from_file(binding).settings["endpoint"]
    process.terminate()
    process.communicate(timeout=60)
    assert contents(shop.folder / "out") == set()


@pytest.mark.usefixtures("down")
def test_background_env_and_down(cli: Callable, shop) -> None:
    assert cli(*UP, "--background", "--env").out.startswith("export POLYBUS_BINDING=")
    environment = cli("local", "env", "--json").json()
    assert environment.keys() >= {"POLYBUS_BINDING", "AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID"}
    assert cli("local", "env", "--cloud", "gcp").code == 1
    again = cli(*UP)
    assert (again.code, again.out) == (1, "")
    assert "runs for this topology already" in again.err
    assert cli("local", "env", "--json").json() == environment
    ended = cli("local", "down")
    assert (ended.code, ended.err) == (0, "local aws ended\n")
    assert contents(shop.folder) == {"polybus.toml"}
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", int(environment["AWS_ENDPOINT_URL"].rpartition(":")[2])))


def test_down_and_env_where_nothing_runs(cli: Callable, shop) -> None:
    assert cli("local", "down").code == 0
    nothing = cli("local", "env")
    assert nothing.code == 1
    assert "polybus local up" in nothing.err


@pytest.mark.usefixtures("down")
def test_env_names_the_cloud_that_was_asked_for(cli: Callable, shop) -> None:
    result = cli("local", "env", "--cloud", "gcp")
    assert (result.code, result.out) == (1, "")
    assert "no local gcp runs in" in result.err
    assert "polybus local up --cloud gcp" in result.err


def test_a_killed_one_is_in_nobodys_way(cli: Callable, shop, spawn: Callable) -> None:
    process = spawn(*UP, cwd=shop.folder)
    until_ready(process)
    process.kill()
    process.wait(timeout=60)
    assert (shop.folder / ".polybus" / "local" / "aws.binding.json").exists()
    assert cli("local", "env").code == 1
    assert contents(shop.folder) == {"polybus.toml"}
    assert cli(*UP, "--background").code == 0
    assert cli("local", "down").code == 0


class Restarts:
    """A local cloud on one data folder, started again and again."""

    def __init__(self, cli: Callable, shop, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cli = cli
        self.shop = shop
        self.monkeypatch = monkeypatch

    def __enter__(self) -> Callable:
        started = self.cli(*UP, "--background", "--data", "data")
        assert started.code == 0, started.err
        for name, value in self.cli("local", "env", "--json").json().items():
            self.monkeypatch.setenv(name, value)
        return self.cli

    def __exit__(self, *_: object) -> None:
        self.cli("local", "down")
        assert contents(self.shop.folder) == {"polybus.toml", "data"}


def test_data_outlives_it(cli: Callable, shop, monkeypatch: pytest.MonkeyPatch) -> None:
    restarts = Restarts(cli, shop, monkeypatch)
    with restarts:
        assert cli("publish", "orders", "first", "--attribute", "region=eu").code == 0
        assert cli("publish", "keyed", "second", "--key", "k").code == 0
    with restarts:
        found = cli("stats", "--json").json()
        assert {name: stats["waiting"] for name, stats in found.items()} == {
            "billing": 1,
            "watch": 1,
            "jobs": 0,
            "keyed": 1,
        }
        assert json.loads(cli("tail", "watch", "--json").out)["body"] == "first"


def test_a_topology_that_changed_is_realised_on_the_same_data(
    cli: Callable, shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    restarts = Restarts(cli, shop, monkeypatch)
    with restarts:
        cli("publish", "orders", "before", "--attribute", "region=eu")
    text = shop.topology.read_text()
    text = text.replace('region == "eu"', 'region == "us"').replace("[queues.jobs]", '[queues.jobs]\nlease = "90s"')
    shop.topology.write_text(text.replace("[topics.orders]", '[topics.orders]\nmax_message_size = "128KiB"'))
    with restarts:
        cli("publish", "orders", "unseen", "--attribute", "region=eu")
        cli("publish", "orders", "after", "--attribute", "region=us")
        assert cli("stats", "billing", "--json").json()["billing"]["waiting"] == 2
        binding = Binding.from_file(Path(os.environ["POLYBUS_BINDING"]))
        assert [delivered.body for delivered in taken(binding, 2)] == [b"before", b"after"]
    shop.topology.write_text(text.replace("filter = 'region == \"us\"'\n", ""))
    with restarts:
        cli("publish", "orders", "anything")
        assert cli("stats", "billing", "--json").json()["billing"]["waiting"] == 1


def taken(binding: Binding, count: int) -> list[polybus.Message]:
    messages: list[polybus.Message] = []
    with polybus.sync.connect(binding) as bus, bus.consume("billing") as deliveries:
        for _ in range(count):
            with next(iter(deliveries)) as delivery:
                messages.append(delivery.message)
    return sorted(messages, key=lambda message: message.published_at)


@pytest.mark.parametrize("cloud", ["azure", "gcp"])
def test_other_clouds_keep_their_data_too(cli: Callable, shop, monkeypatch: pytest.MonkeyPatch, cloud: str) -> None:
    text = shop.topology.read_text().replace('max_delay = "15m"\n', "").replace("max_attempts = 1", "max_attempts = 5")
    shop.topology.write_text(text)
    for body in ("first", "second"):
        started = cli("local", "up", "--cloud", cloud, "--background", "--data", "data")
        assert started.code == 0, started.err
        for name, value in cli("local", "env", "--json").json().items():
            monkeypatch.setenv(name, value)
        published = cli("publish", "orders", body)
        assert published.code == 0, published.err
        if body == "second":
            lines = cli("tail", "watch", "--json", "--wait", "5s", "--limit", "2").out.splitlines()
            assert sorted(json.loads(line)["body"] for line in lines) == ["first", "second"]
        assert cli("local", "down").err == f"local {cloud} ended\n"
    assert contents(shop.folder) == {"polybus.toml", "data"}


@pytest.mark.usefixtures("down")
def test_all_clouds_at_once(cli: Callable, shop) -> None:
    text = shop.topology.read_text().replace('max_delay = "15m"\n', "").replace("max_attempts = 1", "max_attempts = 5")
    shop.topology.write_text(text)
    assert cli("local", "up", "--cloud", "all", "--background").code == 0
    printed = cli("local", "env", "--json")
    together = printed.json()
    assert "POLYBUS_BINDING is not set: 3 local clouds run" in printed.err
    assert "POLYBUS_BINDING is not set: 3 local clouds run" in cli("local", "env").err
    assert together.keys() > {"AWS_ENDPOINT_URL", "PUBSUB_EMULATOR_HOST", "AZURE_SERVICEBUS_CONNECTION_STRING"}
    assert "POLYBUS_BINDING" not in together
    for cloud in ("aws", "azure", "gcp"):
        one = cli("local", "env", "--cloud", cloud, "--json")
        assert one.err == ""
        binding = one.json()["POLYBUS_BINDING"]
        assert Binding.from_file(Path(binding)).backend == cloud
    ended = cli("local", "down")
    assert sorted(ended.err.splitlines()) == ["local aws ended", "local azure ended", "local gcp ended"]
    assert contents(shop.folder) == {"polybus.toml"}


# Bad input: one clear error, and nothing half-made.


def refused(shop, result, *parts: str) -> None:
    assert (result.code, result.out) == (1, "")
    assert "Traceback" not in result.err
    for part in parts:
        assert part in result.err, result.err
    assert contents(shop.folder) == {"polybus.toml"}


@pytest.mark.parametrize("background", [(), ("--background",)])
def test_what_the_cloud_refuses_starts_nothing(cli: Callable, shop, background: tuple[str, ...]) -> None:
    shop.topology.write_text(shop.topology.read_text().replace('max_delay = "15m"', 'max_delay = "1h"'))
    refused(shop, cli(*UP, *background), "$.queues.jobs", "polybus.toml" if background == () else "aws")


@pytest.mark.parametrize("background", [(), ("--background",)])
def test_a_port_that_is_taken(cli: Callable, shop, background: tuple[str, ...]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        refused(shop, cli(*UP, "--port", port, *background), str(port), "in use")


def test_a_file_that_is_there_is_not_overwritten(cli: Callable, shop, tmp_path_factory: pytest.TempPathFactory) -> None:
    mine = tmp_path_factory.mktemp("other") / "polybus.binding.json"
    mine.write_text("mine")
    refused(shop, cli(*UP, "--binding", mine), str(mine), "is there already")
    assert mine.read_text() == "mine"


def test_a_data_folder_that_is_a_file(cli: Callable, shop) -> None:
    refused(shop, cli(*UP, "--data", shop.topology), "polybus.toml")


def test_three_clouds_have_no_port_or_file_in_common(cli: Callable, shop) -> None:
    for option in (("--port", "4566"), ("--binding", "x.json")):
        result = cli("local", "up", "--cloud", "all", *option)
        assert result.code == 2
        assert "name one cloud" in result.err


def test_an_extra_that_is_not_installed(shop) -> None:
    code = (
        "import sys; sys.modules['boto3'] = None\n"
        "from polybus.cli.main import main\n"
        "main(['local', 'up', '--cloud', 'aws'])"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=shop.folder, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"pip install {requirement('aws,local')}" in done.stderr
    assert done.stderr.count("\n") == 1
    assert contents(shop.folder) == {"polybus.toml"}


@pytest.mark.usefixtures("down")
def test_env_says_what_a_language_needs(cli: Callable, shop) -> None:
    (shop.folder / "polybus.toml").write_text('[bus]\nname = "shop"\n[queues.jobs]\n')  # what every cloud can
    up = cli("local", "up", "--cloud", "azure", "--background")
    assert up.code == 0, up.err
    plain = cli("local", "env", "--json").json()
    authority = plain["AZURE_SERVICEBUS_CA_FILE"]
    assert "BEGIN CERTIFICATE" in Path(authority).read_text()
    bundle = plain["AZURE_SERVICEBUS_CA_BUNDLE"]
    needs = {
        "node": {"NODE_EXTRA_CA_CERTS": authority},
        "go": {"SSL_CERT_FILE": bundle},
        "dotnet": {"SSL_CERT_FILE": bundle},
    }
    for language, found in needs.items():
        assert cli("local", "env", "--json", "--for", language).json() == plain | found
    assert cli("local", "env", "--json", "--for", "python").json() == plain
    java = cli("local", "env", "--for", "java").out
    assert f"-Djavax.net.ssl.trustStore={plain['AZURE_SERVICEBUS_TRUST_STORE']} " in java
    assert Path(plain["AZURE_SERVICEBUS_TRUST_STORE"]).read_bytes()[:4] == b"\xfe\xed\xfe\xed"
    assert cli("local", "env", "--for", "cobol").code == 2


def test_standard_ports_are_those_of_the_cloud_s_own_clients() -> None:
    """Not bound here: another program of this machine may have them."""
    for cloud, port in {"aws": 4566, "gcp": 8085, "azure": 5672}.items():
        assert load(cloud, port=None, data=None).port == port


def test_a_port_is_the_standard_one_or_another(cli: Callable, shop) -> None:
    both = cli(*UP, "--port", "4000", "--ports", "standard")
    assert both.code == 2
    assert "--ports" in both.err


@pytest.mark.usefixtures("down")
def test_the_control_face_is_there_where_it_is_asked_for(cli: Callable, shop) -> None:
    (shop.folder / "polybus.toml").write_text('[bus]\nname = "shop"\n[queues.jobs]\n')  # what every cloud can
    up = cli("local", "up", "--cloud", "all", "--ui", "--background")
    assert up.code == 0, up.err
    page = re.search(r"http://127.0.0.1:\d+/#token=\S+", up.out)
    assert page is not None
    with urlopen(page[0], timeout=60) as answer:
        assert b"<title>polybus local</title>" in answer.read()
    for cloud in ("aws", "azure", "gcp"):
        told = cli("local", "env", "--cloud", cloud, "--json").json()
        asked = Request(f"{told['POLYBUS_CONTROL_URL']}/v1/{cloud}/entities")
        asked.add_header("Authorization", f"Bearer {told['POLYBUS_CONTROL_TOKEN']}")
        with urlopen(asked, timeout=60) as answer:
            assert any("jobs" in entity["name"] for entity in json.load(answer)["entities"])
