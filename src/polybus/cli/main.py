"""The entry point: `polybus COMMAND`.

Exit codes: 0 done, 1 failed, 2 used wrongly, 130 interrupted. What polybus raises becomes a clear line on stderr;
`polybus --debug COMMAND` shows the traceback instead.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from polybus.cli.failures import explain
from polybus.variables import DEBUG

__all__ = ["COMMANDS", "Entry", "build", "main"]


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a command lives, and what `polybus --help` says of it."""

    module: str
    summary: str


COMMANDS: Mapping[str, Entry] = {
    "init": Entry("polybus.cli.init", "Write a first topology and a first service into a folder."),
    "check": Entry("polybus.cli.check", "Say whether each cloud can realise a topology."),
    "plan": Entry("polybus.cli.plan", "Show what each cloud would hold for a topology."),
    "schema": Entry("polybus.cli.schema", "Print the JSON Schema of polybus.toml."),
    "route": Entry("polybus.cli.route", "Say which subscriptions a message would reach."),
    "diagram": Entry("polybus.cli.diagram", "Draw a topology as Mermaid or SVG."),
    "catalogue": Entry("polybus.cli.catalogue", "Write a page that says who publishes what, and who reads it."),
    "run": Entry("polybus.cli.run", "Run services until they are told to stop."),
    "ps": Entry("polybus.cli.ps", "Show the services that run here, and what they take."),
    "pause": Entry("polybus.cli.pause", "Have services take nothing more from a source."),
    "resume": Entry("polybus.cli.resume", "Have services go on after a pause."),
    "concurrency": Entry("polybus.cli.concurrency", "Set how many calls of a handler run at once."),
    "publish": Entry("polybus.cli.publish", "Publish messages to a topic or queue."),
    "tail": Entry("polybus.cli.tail", "Show messages without taking them from anybody."),
    "stats": Entry("polybus.cli.stats", "Count what waits in subscriptions and queues."),
    "top": Entry("polybus.cli.top", "Show everything of a binding at a glance, live."),
    "local": Entry("polybus.cli.local", "Run a stand-in for a cloud on this machine."),
    "preview": Entry("polybus.cli.preview", "Show what `polybus up` would do to a stack."),
    "up": Entry("polybus.cli.up", "Create or update a stack with Pulumi."),
    "refresh": Entry("polybus.cli.refresh", "Bring a stack's state to what there is."),
    "destroy": Entry("polybus.cli.destroy", "Delete all that a stack has made."),
    "import": Entry("polybus.cli.import_", "Write a file to take over what exists already."),
    "outputs": Entry("polybus.cli.outputs", "Print what a stack exports."),
    "export": Entry("polybus.cli.export", "Write a topology, or its plan, for another tool than Pulumi."),
    "matrix": Entry("polybus.cli.matrix", "Show what each backend was measured to do."),
    "outbox": Entry("polybus.cli.outbox", "List, retry or discard what an outbox could not send."),
    "schedule": Entry("polybus.cli.schedule", "List or cancel what is to be published later."),
    "dead-letter": Entry("polybus.cli.dead_letter", "List, show, redrive or purge dead letters."),
}


def build(wanted: Callable[[str], bool]) -> typer.Typer:
    """Return the application; only commands that are `wanted` are imported, the others are known by name alone."""
    root = typer.Typer(
        name="polybus",
        help="One messaging interface over AWS, Azure, Google Cloud and an embedded store.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,  # typer's rich help imports for 0.24 s (importtime, CPython 3.11), this one for none
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    root.callback()(_globals)
    for name, entry in COMMANDS.items():
        if not wanted(name):
            root.command(name, help=entry.summary)(_placeholder)
            continue
        module = importlib.import_module(entry.module)
        if hasattr(module, "app"):
            root.add_typer(module.app, name=name, help=entry.summary)
        else:
            root.command(name)(module.command)
    return root


def _placeholder() -> None:
    """Stand in for a command that this call of polybus doesn't name."""


def _show_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"polybus {version('polybus')}")
        raise typer.Exit


def _globals(
    context: typer.Context,
    debug: Annotated[
        bool, typer.Option("--debug", envvar=DEBUG, help="Show tracebacks and the log of the bus.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    context.obj = {"debug": debug}
    if debug and context.invoked_subcommand != "run":  # which sets up its log itself, around what it imports
        import logging

        logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit the process with its code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    # A shell's completion asks for names and options of any command, so it needs them all.
    root = build(lambda name: name in given or "_POLYBUS_COMPLETE" in os.environ)
    command = typer.main.get_command(root)
    try:
        command.main(given, prog_name="polybus")
    except BrokenPipeError:
        _leave_pipe()
    except Exception as error:
        if "--debug" in _before_command(given) or os.environ.get(DEBUG):
            raise
        for line in explain(error):
            print(f"polybus: {line}", file=sys.stderr)
        sys.exit(1)


def _before_command(arguments: Sequence[str]) -> Sequence[Any]:
    names = [index for index, argument in enumerate(arguments) if argument in COMMANDS]
    return arguments[: names[0]] if names else arguments


def _leave_pipe() -> None:
    """End quietly when whoever read our output has gone, as `head` does."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that the flush at exit finds no broken pipe
    sys.exit(1)


if __name__ == "__main__":
    main()
