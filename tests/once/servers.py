"""Servers that the tests of `polybus.once` start for themselves, each in a folder of its own."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg
import redis

__all__ = ["MISSING", "Postgresql", "RedisServer"]

# Far more than a busy machine needs for a start; nothing waits for it to be over.
PATIENCE = 120.0
USER = "polybus"


def _postgresql() -> Path | None:
    """Return the newest folder with PostgreSQL's programs, where Debian puts them or on PATH."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    found = [*reversed(debian), *(Path(path).parent for path in [shutil.which("postgres")] if path is not None)]
    return next((path for path in found if (path / "postgres").exists() and (path / "initdb").exists()), None)


BINARIES = _postgresql()
MISSING = {
    **({} if BINARIES is not None else {"postgresql": "there is no PostgreSQL: apt-get install postgresql"}),
    **({} if shutil.which("redis-server") else {"redis": "there is no Redis: apt-get install redis-server"}),
}
"""Why stores aren't tested here, by their kinds."""


def _owner() -> tuple[str, int] | None:
    """Return the user and group that PostgreSQL runs as where this is root, as which it doesn't run."""
    if os.geteuid():
        return None
    name = "postgres" if any(each.pw_name == "postgres" for each in pwd.getpwall()) else "nobody"
    return name, pwd.getpwnam(name).pw_gid


class Postgresql:
    """A PostgreSQL server, reached by a socket in its folder."""

    def __init__(self) -> None:
        assert BINARIES is not None
        # Not in the run's own folder, which another user can't enter.
        self.folder = Path(tempfile.mkdtemp(prefix="polybus-pg-", dir="/tmp"))
        self._numbers = itertools.count(1)
        self._prefix = ["setpriv", "--pdeathsig", "KILL"]
        if (owner := _owner()) is not None:
            shutil.chown(self.folder, *owner)
            self._prefix += ["--reuid", owner[0], "--regid", str(owner[1]), "--clear-groups"]
        data = str(self.folder / "data")
        make = ["-D", data, "-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
        subprocess.run(self._command("initdb", *make), check=True, capture_output=True, cwd=self.folder)
        serve = ["-D", data, "-k", str(self.folder), "-h", "", "-F", "-c", "max_connections=60"]
        with (self.folder / "log").open("wb") as log:
            command = self._command("postgres", *serve)
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder)
        until = time.monotonic() + PATIENCE
        while True:
            try:
                psycopg.connect(self._conninfo).close()
                return
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError((self.folder / "log").read_text(errors="replace")) from None
                time.sleep(0.05)

    def url(self, driver: str) -> str:
        """Create an empty database, and return its URL for SQLAlchemy, with `{driver}` still to be filled in."""
        name = f"test_{next(self._numbers)}"
        with psycopg.connect(self._conninfo, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return f"postgresql+{driver}://{USER}@/{name}?host={self.folder}"

    def close(self) -> None:
        """End the server at once, and remove its folder."""
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait()
        shutil.rmtree(self.folder)

    @property
    def _conninfo(self) -> str:
        return f"host={self.folder} user={USER} dbname=postgres"

    def _command(self, program: str, *arguments: str) -> list[str]:
        return [*self._prefix, "--", f"{BINARIES}/{program}", *arguments]


class RedisServer:
    """A redis-server that persists nothing."""

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"redis://127.0.0.1:{port}"
        self._folder = tempfile.mkdtemp(prefix="polybus-redis-")
        command = ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", self._folder]
        self._process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until = time.monotonic() + PATIENCE
        with redis.Redis.from_url(self.url) as client:
            while True:
                try:
                    client.ping()
                    return
                except redis.ConnectionError:
                    if self._process.poll() is not None or time.monotonic() > until:
                        raise
                    time.sleep(0.05)

    def close(self) -> None:
        """End the server."""
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._folder)
