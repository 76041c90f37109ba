"""`polybus init`: a first topology and a first service."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated

import typer

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

_NEXT = """\
Wrote {topology}, {service}, and for editors {schema}. Next:

  {enter}polybus check
  export POLYBUS_BINDING=embedded    # no cloud: messages are in .polybus/ here; in each terminal
  polybus run billing:app
  polybus publish orders '{{"customer": "Ada", "total": 9.5}}' --attribute region=eu    # in a second terminal
"""


def command(
    folder: Annotated[Path, typer.Argument(help="Where to write; made if it isn't there.")] = Path("."),
    name: Annotated[str | None, typer.Option("--name", help="The bus's name; by default the folder's.")] = None,
) -> None:
    """Write a first topology and a first service into a folder.

    Nothing that is there is overwritten: where one of the files exists, none is written. Editors that know TOML
    complete and check the topology by the JSON Schema beside it.
    """
    files = {
        folder / "polybus.toml": _topology(_bus_name(name, folder)),
        folder / "billing.py": _SERVICE,
        folder / SCHEMA_FILE: schema_text(),
    }
    for path in files:
        if path.exists():
            raise ConfigError(f"{path}: is there already, nothing was written; choose another folder or remove it")
    folder.mkdir(parents=True, exist_ok=True)
    _write_all(files)
    topology, service, schema = files
    enter = "" if folder.resolve() == Path.cwd() else f"cd {folder}\n  "
    typer.echo(_NEXT.format(topology=topology, service=service, schema=schema, enter=enter), nl=False)


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


def _write_all(files: dict[Path, str]) -> None:
    """Write new files, or none of them."""
    written: list[Path] = []
    try:
        for path, text in files.items():
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
            written.append(path)
            with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
                stream.write(text)
    except OSError:
        for path in written:
            path.unlink()
        raise
