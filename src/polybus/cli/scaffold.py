"""What `polybus init` writes beside the first topology: a stack for a cloud, and a service in FastAPI."""

from __future__ import annotations

import shlex
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from polybus.installed import origin

if TYPE_CHECKING:
    from polybus.provision.cloud import Provider

__all__ = ["API", "api", "stack"]

API = "api.py"

_PROJECT = """\
# The program in __main__.py makes what ../polybus.toml declares, on the cloud that a stack's `polybus:cloud` names.
name: {bus}
description: Topics, subscriptions and queues of the bus {bus}.
runtime:
  name: python
  options:
    toolchain: pip
    virtualenv: .venv
config:
  polybus:topology:
    value: ../polybus.toml
"""

_PROGRAM = '''\
"""The program of every stack: one bus, on the cloud that `polybus:cloud` names."""

import pulumi

from polybus.provision import from_config

bus = from_config()

# What services read: `pulumi stack output polybus --json > polybus.binding.json`.
pulumi.export("polybus", bus.binding)
# What each service reads, and no more: for its POLYBUS_BINDING.
pulumi.export("bindings", bus.bindings)
# What other infrastructure reads: addresses, ids, and rights to attach.
for name, value in bus.exports.items():
    pulumi.export(name, value)
'''

_DEV = """\
config:
  polybus:cloud: {cloud}
{settings}"""

_PROD = """\
config:
  polybus:cloud: {cloud}
  # Nothing that holds messages is deleted or replaced, unless this is taken away first.
  polybus:protect: true
  polybus:tags:
    environment: production
{settings}"""

_README = """\
# The stacks of {bus}

One Pulumi program for every cloud and environment: `../polybus.toml` says what there is, `Pulumi.<stack>.yaml` where,
and who its services are. The values in the stack files are examples: change them before the first `up`.

```sh
cd stacks
python3 -m venv .venv && .venv/bin/pip install -r requirements-<cloud>.txt
pulumi login --local                                     # or where your state is kept
pulumi stack init <cloud>-dev
polybus check --config Pulumi.<cloud>-dev.yaml ../polybus.toml    # what the cloud refuses; asks nobody
polybus plan --config Pulumi.<cloud>-dev.yaml ../polybus.toml     # what there would be, and who may what
pulumi preview --diff && pulumi up
pulumi stack output polybus --json > ../polybus.binding.json      # what services read
```

A pull request is checked by `polybus check --against` what its base has: what would lose messages fails, and says which
and how not to. Its job is in `.github/workflows`.

What differs by environment is left open in the topology, `existing = {{ config = "orders" }}`, and said by each stack:
`pulumi config set --path 'polybus:values.orders' ...`.
"""

_REQUIREMENTS = """\
# The program's environment: Pulumi, and the provider's SDK of one cloud.
{told}{polybus}
"""

_ONE_MACHINE = """\
# This polybus came from a folder or a file of one machine. For others write its repository, polybus @ git+https://...@COMMIT,
# or, where an index has it, its name alone.
"""

_JOB = """\
# Refuses a pull request that the cloud would refuse, or that would lose messages where it is deployed.
name: polybus on {cloud}
on:
  pull_request:
    paths: ["{inside}polybus.toml", "{inside}stacks/**"]
permissions:
  contents: read
jobs:
  check:
    runs-on: ubuntu-latest
    defaults:
      run:
        working-directory: ./{inside}
    steps:
      - uses: actions/checkout@v4
        with:
          fetch-depth: 0
      - uses: actions/setup-python@v5
        with:
          python-version: "3.12"
{told}      - run: pip install {polybus} pyyaml
      - run: polybus check --cloud {cloud}
      - name: Take what is deployed from the base branch, or what is here where it has none yet
        env:
          BASE: ${{{{ github.event.pull_request.base.sha }}}}
        run: |
          deployed="$RUNNER_TEMP/deployed"
          mkdir -p "$deployed"
          for file in polybus.toml stacks/Pulumi.{cloud}-dev.yaml stacks/Pulumi.{cloud}-prod.yaml; do
            git show "$BASE:./$file" > "$deployed/$(basename "$file")" || cp "$file" "$deployed/"
          done
      - name: Refuse what would lose messages
        run: |
          deployed="$RUNNER_TEMP/deployed"
          for stack in {cloud}-dev {cloud}-prod; do
            polybus check --config "stacks/Pulumi.$stack.yaml" --against-config "$deployed/Pulumi.$stack.yaml" \\
              --against "$deployed/polybus.toml"
          done
"""

_API = '''\
"""Take orders over HTTP and bill them: FastAPI's lifespan opens the bus, and runs the handlers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response
from pydantic import BaseModel

import polybus

billing = polybus.App(service="billing")


class Order(BaseModel):
    customer: str
    total: float
    region: str = "eu"


@billing.handler("billing")
async def bill(order: Order, delivery: polybus.Delivery) -> None:
    """Return to acknowledge; raise to have the order again after a while."""
    print(f"attempt {delivery.attempt}: {order.customer} owes {order.total:.2f}", flush=True)


@asynccontextmanager
async def lifespan(api: FastAPI) -> AsyncIterator[None]:
    # Leaving drains: nothing more is taken, handlers may finish, the rest is given back.
    async with polybus.connect(service="shop") as bus, billing.running():
        api.state.bus = bus
        yield


api = FastAPI(lifespan=lifespan)


@api.post("/orders", status_code=202)
async def take(order: Order, request: Request) -> dict[str, str]:
    """Answer once the backend has the order."""
    bus: polybus.Bus = request.app.state.bus
    return {"id": await bus.publish("orders", order, attributes={"region": order.region})}


@api.get("/ready")
async def ready(response: Response) -> dict[str, str]:
    """Ready once every handler's subscription has answered; the reason where one hasn't."""
    problem = billing.problem
    response.status_code = 200 if problem is None else 503
    return {"state": problem or "ready"}
'''


def api() -> str:
    """Return a service in FastAPI's lifespan, for the first topology."""
    return _API


def stack(folder: Path, bus: str, provider: Provider) -> dict[Path, str]:
    """Return the files of a stack project, of two stacks on a cloud, and of a job that checks them."""
    cloud, home = provider.name, folder / "stacks"
    root = _repository(folder)
    relative = folder.resolve().relative_to(root).as_posix()
    inside = "" if relative == "." else f"{relative}/"
    job = root / ".github" / "workflows" / f"polybus-{bus}-{cloud}.yml"
    dev, prod = provider.first(bus)
    return {
        home / "Pulumi.yaml": _PROJECT.format(bus=bus),
        home / "__main__.py": _PROGRAM,
        home / "README.md": _README.format(bus=bus),
        home / f"Pulumi.{cloud}-dev.yaml": _DEV.format(cloud=cloud, settings=_indented(dev)),
        home / f"Pulumi.{cloud}-prod.yaml": _PROD.format(cloud=cloud, settings=_indented(prod)),
        home / f"requirements-{cloud}.txt": _requirements(provider.sdk.extra),
        job: _job(cloud, inside),
    }


def _requirements(extra: str) -> str:
    address = origin()
    polybus = f"polybus[{extra}]{f' @ {address}' if address else ''}"
    return _REQUIREMENTS.format(told=_of_one_machine(address), polybus=polybus)


def _job(cloud: str, inside: str) -> str:
    address = origin()
    polybus = shlex.quote(f"polybus @ {address}") if address else "polybus"
    told = textwrap.indent(_of_one_machine(address), " " * 6)
    return _JOB.format(cloud=cloud, inside=inside, told=told, polybus=polybus)


def _of_one_machine(address: str) -> str:
    """Return a comment where an address is of no use to another machine."""
    return _ONE_MACHINE if address.partition("+")[2].startswith("file:") or address.startswith("file:") else ""


def _indented(settings: str) -> str:
    return "".join(f"  {line}\n" for line in settings.splitlines())


def _repository(folder: Path) -> Path:
    """Find where jobs belong: at the root of the repository that a folder is in, else in the folder."""
    here = folder.resolve()
    return next((path for path in (here, *here.parents) if (path / ".git").exists()), here)
