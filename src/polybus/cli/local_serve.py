"""Serving local clouds in this process until a signal."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from polybus.bus.resolve import VARIABLE
from polybus.cli.local_clouds import load
from polybus.cli.local_slot import FOLDER, Running, Slot, write
from polybus.errors import ConfigError
from polybus.plan.bodies import in_folder
from polybus.plan.planning import local_of
from polybus.signals import heeded

if TYPE_CHECKING:
    from polybus.localcloud.server import LocalServer

__all__ = ["Request", "environment_of", "for_language", "past_proxies", "serve", "until_signal", "where_bodies_are"]

_PROXIES = ("http_proxy", "https_proxy", "grpc_proxy", "all_proxy")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True)
class Request:
    """What `polybus local up` was asked for; paths are absolute."""

    clouds: tuple[str, ...]
    topology: Path
    binding: Path | None
    env_file: Path | None
    data: Path | None
    port: int | None
    """None for the standard ones."""
    tls: bool = False
    control: int | None = None
    """The control face's port; None for none."""
    ui: bool = False

    @property
    def folder(self) -> Path:
        """Where the slots are."""
        return self.topology.parent / FOLDER

    def arguments(self) -> list[str]:
        """Return the command line that asks for the same."""
        given = {"--binding": self.binding, "--env-file": self.env_file, "--data": self.data}
        cloud = self.clouds[0] if len(self.clouds) == 1 else "all"
        ports = ["--ports", "standard"] if self.port is None else ["--port", str(self.port)]
        arguments = ["--cloud", cloud, "--topology", str(self.topology), *ports]
        if self.tls:
            arguments.append("--tls")
        if self.control is not None:
            arguments += ["--control", str(self.control)]
        if self.ui:
            arguments.append("--ui")
        for option, path in given.items():
            if path is not None:
                arguments += [option, str(path)]
        return arguments


async def serve(request: Request, tell: Callable[[list[Running]], None]) -> None:
    """Start the clouds, realise the topology on them, call `tell`, and serve until SIGINT, SIGTERM or SIGHUP.

    Raises before anything is started where a cloud can't do what the topology says, or is running already.
    """
    from polybus.localcloud.server import running
    from polybus.topology.file import load as read

    os.environ.update(past_proxies(os.environ))
    topology = read(request.topology)
    plans = {cloud: local_of(cloud).plan(topology) for cloud in request.clouds}
    stopped = until_signal()
    async with AsyncExitStack() as stack:
        slots = {cloud: Slot(request.folder, cloud) for cloud in request.clouds}
        for slot in slots.values():
            stack.enter_context(slot.held())
        files = _files(request)
        states = {}
        loaded = {cloud: load(cloud, port=request.port, data=request.data, tls=request.tls) for cloud in plans}
        control = await stack.enter_async_context(_controlled(request, loaded))
        for cloud, plan in plans.items():
            server = await stack.enter_async_context(running(loaded[cloud]))
            # In a thread: this loop serves what it asks for.
            made = await asyncio.to_thread(local_of(cloud).realise, plan, server)
            beside = slots[cloud].stacks if request.data is None else request.data / cloud
            binding = in_folder(made, beside / "bodies")
            states[cloud] = Running(
                cloud=cloud,
                pid=os.getpid(),
                address=f"{server.host}:{server.port}",
                topology=str(request.topology),
                binding=binding.to_json(),
                environment={VARIABLE: str(files[cloud]), **server.env(), **control},
                files=(str(files[cloud]), *((str(request.env_file),) if request.env_file else ())),
            )
        for cloud, state in states.items():
            slots[cloud].tell(state)  # first, so that whatever happens next, the files end with the slot
            write(files[cloud], state.binding.encode())
        if request.env_file is not None:
            lines = (f"{name}={value}\n" for name, value in environment_of(list(states.values())).items())
            write(request.env_file, "".join(lines).encode())
        tell(list(states.values()))
        await stopped.wait()


@asynccontextmanager
async def _controlled(request: Request, servers: Mapping[str, LocalServer]) -> AsyncIterator[dict[str, str]]:
    """Serve the control face of servers that aren't started yet, where it is asked for; yield what tells of it."""
    if request.control is None:
        yield {}
        return
    from polybus.localcloud.control.desk import Desk
    from polybus.localcloud.control.http import ControlServer, page
    from polybus.localcloud.control.steering import Steerable

    desk = Desk()
    for cloud, server in servers.items():
        if not isinstance(server, Steerable):
            raise ConfigError(f"the local {cloud} has no control face: leave --control and --ui out")
        desk.take(cloud, server)
    token = secrets.token_urlsafe(24)
    face = ControlServer(desk, token, port=request.control, page=page() if request.ui else None)
    await face.start()
    try:
        yield {"POLYBUS_CONTROL_URL": face.url, "POLYBUS_CONTROL_TOKEN": token}
    finally:
        await face.stop()


def environment_of(states: Sequence[Running]) -> dict[str, str]:
    """Return the variables of some clouds together; POLYBUS_BINDING can name only one.

    Where a proxy is set here, they say that it isn't for this machine's own loopback.
    """
    together = past_proxies(os.environ)
    for state in states:
        together.update(state.environment)
    if len(states) > 1:
        together.pop(VARIABLE, None)
    return together


def for_language(states: Sequence[Running], language: str) -> dict[str, str]:
    """Return what a language's SDKs of these clouds need beside `environment_of`; raise ConfigError for two needs."""
    together: dict[str, str] = {}
    for state in states:
        for name, value in local_of(state.cloud).switches(language, state.environment).items():
            if together.setdefault(name, value) != value:
                raise ConfigError(f"{name} can't be for several clouds at once: choose one with --cloud")
    return together


def where_bodies_are(cloud: str, binding: str) -> str:
    """Say where large bodies are, which on the cloud itself would be in a bucket or container; "" where none are."""
    from polybus.binding import Binding

    found = Binding.from_json(binding).bodies if binding else None
    return "" if found is None else f"large bodies are in a folder, since the local {cloud} has no store: {found.url}"


def past_proxies(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what keeps clients from asking a proxy for loopback; nothing where none is set."""
    if not any(environment.get(name) or environment.get(name.upper()) for name in _PROXIES):
        return {}
    # Both spellings: curl, requests and gRPC each read the one or the other first.
    given = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    names = [name.strip() for name in given.split(",") if name.strip()]
    value = ",".join([*names, *(name for name in _LOOPBACK if name not in names)])
    return {"NO_PROXY": value, "no_proxy": value}


def until_signal() -> asyncio.Event:
    """Return an event that the first signal sets; later ones change nothing, for ending takes no time."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in heeded(signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stopped.set)
    return stopped


def _files(request: Request) -> dict[str, Path]:
    """Return where each binding is written; raise ConfigError for a file that is there: it isn't ours to remove."""
    found = {cloud: request.binding or request.folder / f"{cloud}.binding.json" for cloud in request.clouds}
    for path in (*found.values(), request.env_file):
        if path is not None and path.exists():
            raise ConfigError(f"{path}: is there already, and would be gone at the end; remove it or name another file")
    return found
