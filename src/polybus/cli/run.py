"""`polybus run`: services, until they are told to stop."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from polybus.cli import options
from polybus.cli.failures import explain
from polybus.cli.logs import Format, Level, Logs
from polybus.cli.loops import loop_factory
from polybus.errors import AppFailed
from polybus.variables import OTEL, REQUIRED

if TYPE_CHECKING:
    from polybus.app.application import App
    from polybus.app.last_resort import LastResort
    from polybus.app.scraped import MetricsServer
    from polybus.cli.early import Early
    from polybus.prometheus import PrometheusHooks

__all__ = ["command"]

_log = logging.getLogger("polybus.app")


class _Asked(NamedTuple):
    """What services are run with; an address is a host, None for every interface, and a port."""

    apps: list[str]
    health: tuple[str | None, int | None]
    metrics: tuple[str | None, int] | None
    grace: float | None
    source: str | None
    logs: Logs
    otel: bool
    control: bool
    outbox: tuple[str, str] | None


def command(
    context: typer.Context,
    apps: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="APP...",
            help="Each as module:name, from the working directory; with --outbox there may be none.",
            show_default=False,
        ),
    ] = None,
    *,
    outbox: Annotated[
        str | None,
        typer.Option(
            "--outbox",
            metavar="DATABASE",
            help="Send what is committed there, too: sqlite:///FILE, postgresql://..., or env:NAME for a variable's "
            "value.",
            show_default=False,
        ),
    ] = None,
    outbox_table: Annotated[
        str, typer.Option("--outbox-table", help="The outbox's table, where it has a name of its own.")
    ] = "polybus_outbox",
    health: Annotated[
        str | None,
        typer.Option(
            "--health",
            metavar="[HOST:]PORT",
            help="Answer GET /live and /ready, on every interface or that of HOST.",
            show_default=False,
        ),
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option(
            "--metrics",
            metavar="[HOST:]PORT",
            help="Answer Prometheus's GET /metrics, on every interface or that of HOST.",
            show_default=False,
        ),
    ] = None,
    grace: Annotated[
        str | None,
        typer.Option(
            "--grace", help="How long handlers may go on after SIGTERM; else each one's own.", show_default=False
        ),
    ] = None,
    otel: Annotated[
        bool, typer.Option("--otel", help="Send traces and metrics to OpenTelemetry, as OTEL_* say.")
    ] = False,
    control: Annotated[
        bool, typer.Option("--control", help="Let this user steer it: `polybus ps`, `pause`, `resume`, `concurrency`.")
    ] = False,
    reload: Annotated[bool, typer.Option("--reload", help="Start again when a file changes; for development.")] = False,
    log_level: Annotated[
        Level | None, typer.Option("--log-level", help="The least level that is written.", show_default="info")
    ] = None,
    log_format: Annotated[
        Format | None,
        typer.Option("--log-format", help="Lines for people or JSON, whatever an app sets up.", show_default="text"),
    ] = None,
    log_config: Annotated[
        Path | None,
        typer.Option(
            "--log-config", help="The standard library's configuration, as JSON, TOML or INI.", show_default=False
        ),
    ] = None,
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

    An app that sets up logging as it is imported is left its own; where none does, lines go to stderr with the time,
    the service, and what is handled.
    """
    if log_config is not None and log_format is not None:
        raise options.refuse("says it all; --log-format would change nothing", "--log-config")
    if quiet and log_level is not None:
        raise options.refuse("means --log-level warning; give one of the two", "--quiet")
    if not apps and outbox is None:
        raise typer.BadParameter("give an app, as module:name, or --outbox", param_hint="APP...")
    debug = bool(context.obj["debug"])
    if metrics is not None and metrics == health:
        raise options.refuse("another port than that of --health", "--metrics")
    level = log_level or (Level.DEBUG if debug else Level.WARNING if quiet else None)
    asked = _Asked(
        list(apps or ()),
        (None, None) if health is None else _address(health, "--health"),
        None if metrics is None else _address(metrics, "--metrics"),
        None if grace is None else options.duration(grace, "--grace"),
        binding,
        Logs(level=level, format=log_format, config=log_config, everything=debug),
        otel,
        control,
        None if outbox is None else (outbox, outbox_table),
    )
    if reload:
        from polybus.cli.reload import supervise

        sys.exit(supervise())
    if require_binding:
        os.environ[REQUIRED] = "1"  # apps look there when they connect
    if otel:
        os.environ[OTEL] = "1"
    from polybus.app.last_resort import LastResort
    from polybus.cli.early import Early

    asked.logs.before()
    end = LastResort()
    end.at_exit()  # before the apps are imported: what they register to run at the exit runs before it
    with Early(end) as early, _failures_logged(asked.logs, debug=debug):
        _run(asked, end, early)


def _run(asked: _Asked, end: LastResort, early: Early) -> None:
    from polybus.app import load, run_apps

    counted = None
    if asked.metrics is not None:
        from polybus.prometheus import PrometheusHooks
        from polybus.telemetry import listen

        counted = PrometheusHooks()
        listen(counted)  # before the apps: one may connect a bus as it is imported
    loaded = [load(spec) for spec in asked.apps]
    if asked.outbox is not None:
        from polybus.cli.relaying import relay_app

        loaded.append(relay_app(*asked.outbox, asked.grace))
    early.check()
    asked.logs.after()
    if asked.otel:
        from polybus.cli.exporting import export

        export([app.service for app in loaded if app.service is not None])
    host, port = asked.health

    async def run() -> None:
        try:
            async with AsyncExitStack() as stack:
                if asked.metrics is not None and counted is not None:
                    await stack.enter_async_context(_metrics(counted, loaded, asked.metrics))
                await run_apps(
                    loaded,
                    health_port=port,
                    health_host=host,
                    grace=asked.grace,
                    source=asked.source,
                    on_drain=end.begin,
                    control=asked.control,
                )
        finally:
            early.over = True
        end.code = 0  # all is drained: a thread that hangs after this, of asyncio's own executor, is no failure

    try:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(run())
    except SystemExit as leaving:
        end.code = _code(leaving)
        raise
    except KeyboardInterrupt:
        end.code = 130
        raise
    except asyncio.CancelledError:
        raise AppFailed("the services were cancelled, though nobody asked them to end") from None


def _metrics(counted: PrometheusHooks, loaded: Sequence[App], address: tuple[str | None, int]) -> MetricsServer:
    from polybus.app.scraped import MetricsServer

    counted.services = tuple(app.service for app in loaded if app.service is not None)
    host, port = address
    return MetricsServer(counted, port, host=host)


@contextmanager
def _failures_logged(logs: Logs, *, debug: bool) -> Iterator[None]:
    """Log what ends the command where every line is to be JSON; whoever reads it could not read our plain lines."""
    try:
        yield
    except Exception as error:
        if debug or not logs.json:
            raise
        for line in explain(error):
            _log.critical("%s", line)
        sys.exit(1)


def _address(text: str, option: str) -> tuple[str | None, int]:
    """Read "8080", "127.0.0.1:8080" or "[::1]:8080"."""
    host, colon, port = text.rpartition(":")
    if not port.isascii() or not port.isdigit() or int(port) > 65_535 or (colon and not host):
        raise options.refuse(f"{text!r} is no address; write 8080, 127.0.0.1:8080 or [::1]:8080", option)
    return host.removeprefix("[").removesuffix("]") or None, int(port)


def _code(leaving: SystemExit) -> int:
    """Return what the interpreter exits with for it."""
    if leaving.code is None:
        return 0
    return leaving.code & 0xFF if isinstance(leaving.code, int) else 1
