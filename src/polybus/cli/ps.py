"""`polybus ps`, `pause`, `resume` and `concurrency`: services that run on this machine with `polybus run --control`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from polybus.cli import options
from polybus.cli.output import console, note, print_json, table

if TYPE_CHECKING:
    from polybus.app.control import Answer, Command

__all__ = ["command", "concurrency", "pause", "resume"]

Source = Annotated[str, typer.Argument(help="The subscription or queue, by its name in the topology.")]
Service = Annotated[str | None, typer.Option("--service", help="Only processes of this service.", show_default=False)]
Pid = Annotated[int | None, typer.Option("--pid", help="Only this process.", show_default=False)]


def command(service: Service = None, pid: Pid = None, json: options.Json = False) -> None:
    """Show the services that run here, and what they take.

    These are the ones of this user that were started with `polybus run --control`.
    """
    from polybus.app.control import Command

    _show(_asked(Command("status"), service, pid), json=json)


def pause(source: Source, service: Service = None, pid: Pid = None, json: options.Json = False) -> None:
    """Have services take nothing more from a source.

    Handlers that run go on; what none has begun with is given back. A service that is restarted takes again. Exits with
    1 where no service that runs here handles the source.
    """
    from polybus.app.control import Command

    _show(_asked(Command("pause", source), service, pid), json=json, changed=source)


def resume(source: Source, service: Service = None, pid: Pid = None, json: options.Json = False) -> None:
    """Have services go on after a pause."""
    from polybus.app.control import Command

    _show(_asked(Command("resume", source), service, pid), json=json, changed=source)


def concurrency(
    source: Source,
    calls: Annotated[int, typer.Argument(metavar="N", help="How many calls of its handler may run at once.")],
    service: Service = None,
    pid: Pid = None,
    json: options.Json = False,
) -> None:
    """Set how many calls of a handler run at once.

    It is so until the service ends; a restart forgets it.
    """
    from polybus.app.control import MOST, Command

    if not 1 <= calls <= MOST:
        raise options.refuse(f"1 to {MOST:,}, not {calls}", "N")
    _show(_asked(Command("concurrency", source, calls), service, pid), json=json, changed=source)


def _asked(command: Command, service: str | None, pid: int | None) -> list[Answer]:
    from polybus.app.control import ask, sockets

    answers = []
    for path in sockets():
        if pid is not None and not path.stem.endswith(f"-{pid}"):
            continue
        if service is not None and not _is_of(path.stem, service):
            continue
        try:
            answer = ask(path, command)
        except OSError as error:
            note(f"polybus: {path}: {error}")
            continue
        if answer is not None:
            answers.append(answer)
    return answers


def _is_of(stem: str, service: str) -> bool:
    """Say whether a socket is one of a service's, before it is asked: a name may have been cut."""
    name = stem.rpartition("-")[0]
    return service in name.split("+") or (len(name) >= 32 and service.startswith(name))


def _show(answers: list[Answer], *, json: bool, changed: str | None = None) -> None:
    done = [answer for answer in answers if answer.error is None]
    if json:
        print_json(done)
    elif done:
        shown = table("pid", "service", "source", "takes", "concurrency", "held", right=("pid", "concurrency", "held"))
        for answer in done:
            for part in answer.parts:
                takes = part.problem or (f"waits: {part.not_taking}" if part.not_taking else "yes")
                shown.add_row(
                    str(answer.pid),
                    answer.service or "-",
                    part.source,
                    takes,
                    str(part.concurrency),
                    str(part.in_flight),
                )
        console().print(shown)
    if changed is not None and not done:
        for answer in answers:
            note(f"polybus: process {answer.pid} ({answer.service or 'no service'}): {answer.error}")
        note(f"polybus: nothing that runs here with --control handles {changed!r}")
        sys.exit(1)
    if changed is None and not answers and not json:
        note("polybus: nothing runs here with --control")
