"""`polybus run`: services, until they are told to stop."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from polybus.cli import options
from polybus.errors import AppFailed
from polybus.registry import libraries
from polybus.variables import OTEL, REQUIRED

if TYPE_CHECKING:
    from polybus.app.last_resort import LastResort
    from polybus.cli.early import Early

__all__ = ["command"]


def command(
    context: typer.Context,
    apps: Annotated[
        list[str], typer.Argument(metavar="APP...", help="Each as module:name, from the working directory.")
    ],
    *,
    health: Annotated[
        int | None,
        typer.Option(
            "--health", metavar="PORT", min=0, max=65535, help="Answer GET /live and /ready.", show_default=False
        ),
    ] = None,
    grace: Annotated[
        str | None,
        typer.Option(
            "--grace", help="How long handlers may go on after SIGTERM; else each one's own.", show_default=False
        ),
    ] = None,
    otel: Annotated[bool, typer.Option("--otel", help="Send traces and metrics to OpenTelemetry.")] = False,
    reload: Annotated[bool, typer.Option("--reload", help="Start again when a file changes; for development.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Log warnings only.")] = False,
    binding: options.Binding = None,
    require_binding: Annotated[
        bool, typer.Option("--require-binding", help="Refuse the embedded backend, unless it is asked for by name.")
    ] = False,
) -> None:
    """Run services until they are told to stop.

    SIGTERM or Ctrl-C drains: nothing more is taken, handlers may finish, the rest is given back. A second signal
    cancels the handlers. The process ends 10 s after the grace, whatever hangs. Exits with 0 after a drain, with 1 when
    a service failed, ended by itself or couldn't end in time, and as a handler's sys.exit says.
    """
    seconds = None if grace is None else options.duration(grace, "--grace")
    if reload:
        from polybus.cli.reload import supervise

        sys.exit(supervise())
    if not context.obj["debug"]:
        logging.basicConfig(
            level=logging.WARNING if quiet else logging.INFO,
            format="%(levelname)s %(name)s: %(message)s",
            stream=sys.stderr,
        )
        for library in libraries():
            logging.getLogger(library).setLevel(logging.WARNING)
    if require_binding:
        os.environ[REQUIRED] = "1"  # apps look there when they connect
    if otel:
        os.environ[OTEL] = "1"
    from polybus.app.last_resort import LastResort
    from polybus.cli.early import Early

    end = LastResort()
    end.at_exit()  # before the apps are imported: what they register to run at the exit runs before it
    with Early(end) as early:
        _run(apps, end, early, health=health, grace=seconds, source=binding)


def _run(
    apps: list[str], end: LastResort, early: Early, *, health: int | None, grace: float | None, source: str | None
) -> None:
    from polybus.app import load, run_apps

    loaded = [load(spec) for spec in apps]
    early.check()

    async def run() -> None:
        try:
            await run_apps(loaded, health_port=health, grace=grace, source=source, on_drain=end.begin)
        finally:
            early.over = True
        end.code = 0  # all is drained: a thread that hangs after this, of asyncio's own executor, is no failure

    try:
        asyncio.run(run())
    except SystemExit as leaving:
        end.code = _code(leaving)
        raise
    except KeyboardInterrupt:
        end.code = 130
        raise
    except asyncio.CancelledError:
        raise AppFailed("the services were cancelled, though nobody asked them to end") from None


def _code(leaving: SystemExit) -> int:
    """Return what the interpreter exits with for it."""
    if leaving.code is None:
        return 0
    return leaving.code & 0xFF if isinstance(leaving.code, int) else 1
