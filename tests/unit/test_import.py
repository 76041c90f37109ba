"""What an import loads: not the clouds that a service doesn't use, nor what only the command line needs."""

from __future__ import annotations

import subprocess
import sys

import pytest

from polybus.installed import requirement

HEAVY = (
    "aiohttp",
    "azure",
    "boto3",
    "botocore",
    "cryptography",
    "google",
    "grpc",
    "obstore",
    "opentelemetry",
    "pulumi",
    "rich",
    "typer",
)
DATABASES = ("aiosqlite", "asyncpg", "django", "psycopg", "sqlalchemy")


def loaded_by(code: str) -> set[str]:
    """Return the top-level modules that a fresh interpreter has after running `code`."""
    program = f"{code}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "code",
    [
        "import polybus",
        "import polybus; polybus.connect, polybus.App, polybus.Delivery",
        "from polybus import *",
        "import polybus; polybus.Blob",
        "import polybus.blobs, polybus.encryption; polybus.blobs.Blobs(bus='shop')",
        "import polybus.topology.file, polybus.plan.check, polybus.plan.diagram",
    ],
)
def test_imports_no_sdk_and_no_terminal(code: str) -> None:
    assert not loaded_by(code) & set(HEAVY)


def test_an_outbox_imports_no_database_library_and_a_bus_no_outbox() -> None:
    assert not loaded_by("import polybus.outbox; polybus.outbox.Outbox, polybus.outbox.Relay") & {*HEAVY, *DATABASES}
    program = "import sys, polybus; polybus.connect, polybus.App; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "polybus.outbox" not in done.stdout


@pytest.mark.parametrize("code", ["import polybus", "import polybus.cli.main"])
def test_what_takes_long_to_import_waits_for_its_first_use(code: str) -> None:
    """An import of msgspec and asyncio is most of what the whole of polybus takes: no help text waits for them."""
    assert not loaded_by(code) & {"asyncio", "msgspec", "tomllib", "rich"}


def test_what_a_deployed_service_imports_is_no_topology() -> None:
    """It has a binding; what reads and checks topologies takes as long to import as the rest of a bus."""
    program = "import sys, polybus; polybus.connect, polybus.App, polybus.Delivery; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert [name for name in done.stdout.split() if name.startswith("polybus.topology")] == []


def test_windows_is_refused_in_words() -> None:
    program = "import sys; sys.platform = 'win32'; import polybus"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("ImportError: polybus needs POSIX and doesn't run on Windows")


def test_what_comes_with_the_package_can_be_had_from_it() -> None:
    program = (
        "import polybus; polybus.errors.PolybusError, polybus.clock.SystemClock; print(polybus.sync.connect.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "connect\n"


def test_provisioning_without_pulumi_says_what_to_install() -> None:
    program = (
        "import sys\nsys.modules['pulumi'] = None\nfrom polybus.errors import MissingExtra\n"
        "try:\n    from polybus.provision import MessageBus\nexcept MissingExtra as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "the Python package pulumi (in the extras aws-stack, azure-stack, gcp-stack) is not installed" in done.stdout
    assert f"pip install {requirement('aws-stack')}" in done.stdout


def test_all_of_what_is_exported_is_there() -> None:
    import polybus

    for name in polybus.__all__:
        assert getattr(polybus, name) is not None
    assert list(polybus.__all__) == sorted(polybus.__all__, key=lambda name: (name.islower(), name))
