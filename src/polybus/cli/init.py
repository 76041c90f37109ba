"""`polybus init`: a first topology and a first service."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from polybus.cli import options
from polybus.cli.schema import SCHEMA_FILE
from polybus.cli.schema import text as schema_text
from polybus.errors import ConfigError

__all__ = ["command"]

_TOPOLOGY = """\
#:schema ./{schema}
# What should exist: topics, subscriptions, queues, and the services with their rights.
# `polybus check` says whether each cloud can realise it; `polybus plan` shows what each would hold.

[bus]
name = "{name}"

[topics.orders]

[subscriptions.billing]
topic = "orders"
filter = 'region in ("eu", "uk")'
lease = "60s"
max_attempts = 5

[services.shop]
publishes = ["orders"]
[services.billing]
consumes = ["billing"]
"""

_SERVICE = '''\
"""Bill the orders of Europe."""

from dataclasses import dataclass

import polybus

app = polybus.App(service="billing")


@dataclass
class Order:
    customer: str
    total: float


@app.handler("billing")
async def bill(order: Order, delivery: polybus.Delivery) -> None:
    """Return to acknowledge; raise to have the order again after a while."""
    print(f"attempt {delivery.attempt}: {order.customer} owes {order.total:.2f}", flush=True)
'''

_FIRST = """\
  polybus check
  export POLYBUS_BINDING=embedded    # no cloud: messages are in .polybus/ here; in each terminal
"""
BODY = '{"customer": "Ada", "total": 9.5}'
"""What the handlers of the first service read."""

_RUN = f"""\
  polybus run billing:app
  polybus publish orders '{BODY}' --attribute region=eu    # in a second terminal
"""
_RUN_API = """\
  pip install fastapi uvicorn && uvicorn api:api
  curl -H 'Content-Type: application/json' -d '{"customer": "Ada", "total": 9.5}' localhost:8000/orders
"""
_DEPLOY = """\
  polybus plan --cloud %s    # what there would be; stacks/README.md says how to make it so
"""


def command(
    folder: Annotated[Path, typer.Argument(help="Where to write; made if it isn't there.")] = Path("."),
    *,
    name: Annotated[str | None, typer.Option("--name", help="The bus's name; by default the folder's.")] = None,
    stack: Annotated[
        str | None,
        options.cloud_option(
            "provider",
            option="--stack",
            every=False,
            help="Write a Pulumi project in stacks/ too, two stacks on this cloud, and a job that checks them.",
            show_default=False,
        ),
    ] = None,
    fastapi: Annotated[
        bool, typer.Option("--fastapi", help="Write the service as a FastAPI application, api.py.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite what is there and is another.")] = False,
) -> None:
    """Write a first topology and a first service into a folder.

    With --stack and --fastapi what a topology that is there already needs beside it. Nothing that is there is
    overwritten without --force: where one of the files is there and is another, none is written. Editors that know TOML
    complete and check the topology by the JSON Schema beside it.
    """
    files = _files(folder, name, stack, fastapi=fastapi)
    kept = [path for path, text in files.items() if _reads(path, text)]
    new = {path: text for path, text in files.items() if path not in kept}
    for path in new:
        if path.exists() and not force:
            raise ConfigError(
                f"{path}: is there already, nothing was written; choose another folder, remove it, or take --force"
            )
    written = _write_all(new, force=force)
    _tell(folder, written, kept, stack, fastapi=fastapi)


def _files(folder: Path, name: str | None, stack: str | None, *, fastapi: bool) -> dict[Path, str]:
    """Give the text of every file that is asked for."""
    from polybus.cli import scaffold

    there = folder / "polybus.toml"
    beside = there.exists() and (stack is not None or fastapi)
    bus = _declared(there, name, fastapi=fastapi) if beside else _bus_name(name, folder)
    files = {} if beside else {there: _topology(bus)}
    if fastapi:
        files[folder / scaffold.API] = scaffold.api()
    elif not beside:
        files[folder / "billing.py"] = _SERVICE
    if not beside:
        files[folder / SCHEMA_FILE] = schema_text()
    if stack is not None:
        from polybus.provision.cloud import cloud_named

        files.update(scaffold.stack(folder, bus, cloud_named(stack)))
    return files


def _declared(path: Path, name: str | None, *, fastapi: bool) -> str:
    """Return the name of the bus that is there; raises ConfigError where what is asked for doesn't go with it."""
    from polybus.topology.file import load

    found = load(path)
    if name not in (None, found.name):
        raise typer.BadParameter(f"{path} is there, and names it {found.name!r}", param_hint="--name")
    if fastapi and not ("orders" in found.topics and "billing" in found.subscriptions):
        raise ConfigError(
            f"{path}: declares no topic orders and subscription billing, which the FastAPI service would use; "
            "write it into an empty folder to see how it is done"
        )
    return found.name


def _reads(path: Path, text: str) -> bool:
    """Say whether a file has that text already."""
    return path.is_file() and path.read_bytes() == text.encode()


def _tell(folder: Path, written: Sequence[Path], kept: Sequence[Path], stack: str | None, *, fastapi: bool) -> None:
    for words, paths in (("Wrote", written), ("There already, and the same:", kept)):
        if paths:
            typer.echo(f"{words} {', '.join(map(_shown, paths))}.")
    enter = "" if folder.resolve() == Path.cwd() else f"  cd {folder}\n"
    deploy = "" if stack is None else _DEPLOY % stack
    typer.echo(f"Next:\n\n{enter}{_FIRST}{_RUN_API if fastapi else _RUN}{deploy}", nl=False)


def _shown(path: Path) -> str:
    """Name a file by its place below the working directory, where it is there."""
    here = Path.cwd()
    whole = path.resolve()
    return str(whole.relative_to(here)) if path.is_absolute() and whole.is_relative_to(here) else str(path)


def _topology(name: str) -> str:
    return _TOPOLOGY.format(name=name, schema=SCHEMA_FILE)


def _bus_name(given: str | None, folder: Path) -> str:
    from polybus.errors import TopologyError
    from polybus.topology.file import loads

    name = given
    if name is None:
        name = re.sub(r"[^A-Za-z0-9_-]+", "-", folder.resolve().name).strip("-_0123456789")[:40] or "first-bus"
    try:
        loads(_topology(name.replace('"', "")), source="--name")
    except TopologyError as error:
        raise typer.BadParameter(str(error), param_hint="--name") from None
    return name


def _write_all(files: Mapping[Path, str], *, force: bool) -> list[Path]:
    """Write files, or none of them: what was there before is as it was where one can't be written."""
    before: dict[Path, bytes | None] = {}
    try:
        for path, text in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            old = path.read_bytes() if force and path.exists() else None
            flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if old is not None else os.O_EXCL)
            descriptor = os.open(path, flags, 0o666)
            before[path] = old
            with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
                stream.write(text)
    except OSError:
        for path, old in before.items():
            if old is None:
                path.unlink()
            else:
                path.write_bytes(old)
        raise
    return list(before)
