"""Run the official SDKs of Go, Node and Java against the local servers: `python -m tests.sdks.run [LANGUAGE...]`.

Node's tests also have AsyncAPI's own parser read what `polybus export asyncapi` prints. It ends with one line for each
language, and exits with 1 where a test of one failed. A language whose toolchain isn't at hand, or whose packages can't
be had, is told and no failure.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from polybus.localcloud.aws.server import AwsServer
from polybus.localcloud.pubsub.server import PubsubServer
from polybus.localcloud.server import running_in_thread
from polybus.localcloud.servicebus import ServiceBusServer
from polybus.plan.planning import local_of

HERE = Path(__file__).parent
# Java's clients of Service Bus go to these whatever they are told: AMQP with TLS, without, and HTTPS.
TLS_PORT, PLAIN_PORT, HTTPS_PORT = 5671, 5672, 443
PATIENCE = 600.0  # seconds for one step; a cold cache is filled over the network


@dataclass(frozen=True, slots=True)
class Language:
    """How a language's tests are fetched and run, in its own folder."""

    tools: tuple[str, ...]
    fetch: tuple[str, ...]
    test: tuple[str, ...]
    standard_ports: bool = False
    """Whether its clients can't be told a port."""


LANGUAGES = {
    "go": Language(("go",), ("go", "mod", "download"), ("go", "test", "-count=1", "./...")),
    "node": Language(("node", "npm"), ("npm", "ci"), ("node", "--test")),
    "java": Language(
        ("java", "mvn"),
        ("mvn", "-B", "-q", "test-compile"),
        ("mvn", "-B", "test"),
        standard_ports=True,
    ),
}


@contextlib.contextmanager
def servers(*, standard_ports: bool) -> Iterator[dict[str, str]]:
    """Run the three servers, and yield the variables by which the tests find them; raise OSError for a taken port."""
    ports = {"port": PLAIN_PORT, "ports": (TLS_PORT, HTTPS_PORT)} if standard_ports else {}
    with (
        running_in_thread(ServiceBusServer(**ports)) as azure,  # type: ignore[arg-type]
        running_in_thread(AwsServer()) as aws,
        running_in_thread(PubsubServer(project="local")) as gcp,
    ):
        found = {**azure.env(), **aws.env(), **gcp.env()}
        found["SERVICEBUS_TLS_WRONG_KEY"] = azure.connection_string(key="wrong", tls=True)
        # As `polybus local env --for` says it.
        for language in LANGUAGES:
            found.update(local_of("azure").switches(language, found))
        yield found


def run(name: str) -> tuple[bool, str]:
    """Run a language's tests; return whether none failed, and what there is to say."""
    language = LANGUAGES[name]
    missing = [tool for tool in language.tools if shutil.which(tool) is None]
    if missing:
        return True, f"not run: there is no {' or '.join(missing)}"
    if not _did(language.fetch, name, os.environ):
        return True, "not run: its packages couldn't be had"
    try:
        with servers(standard_ports=language.standard_ports) as environment:
            passed = _did(language.test, name, {**os.environ, **environment, "POLYBUS_PYTHON": sys.executable})
    except OSError as error:
        return True, f"not run: its clients take no other ports: {error}"
    return passed, "passed" if passed else "FAILED"


def _did(command: Sequence[str], name: str, environment: Mapping[str, str]) -> bool:
    print(f"\n== {name}: {' '.join(command)} ==", flush=True)
    try:
        return subprocess.run(command, cwd=HERE / name, env=environment, timeout=PATIENCE, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        print(f"ended after {PATIENCE:.0f} s")
        return False


def main(names: Sequence[str]) -> int:
    results = {name: run(name) for name in names or LANGUAGES}
    print()
    for name, (_, said) in results.items():
        print(f"sdks: {name}: {said}")
    return 0 if all(passed for passed, _ in results.values()) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
