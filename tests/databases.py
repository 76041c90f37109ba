"""Databases that tests start for themselves: PostgreSQL's own server, where it is installed."""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

__all__ = ["POSTGRESQL_MISSING", "Postgresql", "postgresql", "started"]


def _binaries() -> Path | None:
    """Return the newest folder with PostgreSQL's programs, where Debian puts them or on PATH."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    found = [*reversed(debian), *(Path(path).parent for path in [shutil.which("postgres")] if path is not None)]
    return next((path for path in found if (path / "postgres").exists() and (path / "initdb").exists()), None)


_BINARIES = _binaries()
POSTGRESQL_MISSING = "" if _BINARIES is not None else "there is no PostgreSQL: apt-get install postgresql"
"""Why what needs PostgreSQL isn't tested; "" where it is."""

# Far more than a busy machine needs for a start; nothing waits for it to be over.
_PATIENCE = 120.0
_USER = "polybus"


class Postgresql:
    """A server of its own in a folder, reached by a socket there; it ends with the process that started it."""

    def __init__(self, binaries: Path) -> None:
        self._binaries = binaries
        # Not in the run's own folder, which another user can't enter: PostgreSQL refuses to run as root.
        self.folder = Path(tempfile.mkdtemp(prefix="polybus-pg-", dir="/tmp"))
        self._numbers = itertools.count(1)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Make the cluster and serve it; nothing of it is to survive a power cut."""
        if os.geteuid() == 0:
            shutil.chown(self.folder, self._user(), int(self._group()))
        data, log = self.folder / "data", self.folder / "log"
        self._run("initdb", "-D", str(data), "-U", _USER, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.folder),
            "fsync": "off",
            "max_connections": "100",
            "shared_buffers": "32MB",
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [*self._prefix(), str(self._binaries / "postgres"), "-D", str(data), *options],
                stdout=output,
                stderr=output,
                cwd=self.folder,
            )
        import psycopg

        until = time.monotonic() + _PATIENCE
        while True:
            try:
                psycopg.connect(self.conninfo("postgres")).close()
                return
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError(log.read_text(errors="replace")) from None
                time.sleep(0.05)

    def stop(self) -> None:
        """End the server at once, and remove its folder."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait()
        shutil.rmtree(self.folder)

    def database(self) -> str:
        """Create an empty database, and return its name."""
        import psycopg

        name = f"test_{next(self._numbers)}"
        with psycopg.connect(self.conninfo("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return name

    def conninfo(self, database: str) -> str:
        """Return what libpq connects with."""
        return f"host={self.folder} user={_USER} dbname={database}"

    def url(self, database: str, driver: str = "") -> str:
        """Return a URL, SQLAlchemy's where a driver is named."""
        return f"postgresql{'+' if driver else ''}{driver}://{_USER}@/{database}?host={self.folder}"

    def _run(self, program: str, *arguments: str) -> None:
        command = [*self._prefix(), str(self._binaries / program), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, cwd=self.folder)
        if done.returncode:
            raise RuntimeError(f"{program}: {done.stdout}{done.stderr}")

    def _prefix(self) -> list[str]:
        """Return what starts a program as another user, which is killed with this process."""
        command = ["setpriv", "--pdeathsig", "KILL"]
        if os.geteuid() == 0:
            command += ["--reuid", self._user(), "--regid", self._group(), "--clear-groups"]
        return [*command, "--"]

    @staticmethod
    def _user() -> str:
        return "postgres" if any(each.pw_name == "postgres" for each in pwd.getpwall()) else "nobody"

    @classmethod
    def _group(cls) -> str:
        return str(pwd.getpwnam(cls._user()).pw_gid)


@contextlib.contextmanager
def started() -> Iterator[Postgresql]:
    """Serve PostgreSQL for the length of the block; raise RuntimeError where it isn't installed."""
    if _BINARIES is None:
        raise RuntimeError(POSTGRESQL_MISSING)
    server = Postgresql(_BINARIES)
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Postgresql]:
    """Serve PostgreSQL for the tests of this process. Tests that take it are there only where it is installed."""
    with started() as server:
        yield server
