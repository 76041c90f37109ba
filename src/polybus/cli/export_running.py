"""`polybus export keda` and the like: what runs the services of a stack, and scales them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from polybus.cli import options, stack, stack_choice
from polybus.cli.output import note, print_json
from polybus.cli.stack_choice import Choice, Found
from polybus.errors import ConfigError, PolybusError

if TYPE_CHECKING:
    from polybus.plan.run.asked import Asked
    from polybus.plan.run.model import Platform, Running, Written

__all__ = ["SUMMARIES", "command_for"]

SUMMARIES: Mapping[str, str] = {
    "keda": "Print what runs services on Kubernetes, scaled by KEDA.",
    "ecs": "Print what runs services on ECS, scaled by what waits for each task.",
    "cloudrun": "Print what runs services on Cloud Run: worker pools, and services for pushes.",
    "containerapps": "Print what runs services on Container Apps, with their scale rules.",
}
"""What help says of a platform, by its word."""

_MARKER = ".polybus-export"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class _Request:
    """What was given on the command line beside the stack."""

    platform: str
    services: tuple[str, ...]
    asked: Asked
    filled: Mapping[str, str]
    namespace: str | None
    identity: str | None
    jobs: bool


def command_for(platform: str) -> Callable[..., None]:
    """Return the command that writes for a platform."""

    def command(
        name: stack_choice.Name = None,
        *,
        folder: stack.Folder = None,
        cloud: Annotated[
            str | None,
            options.cloud_option("running", help="Without a stack: the cloud, by its defaults.", show_default=False),
        ] = None,
        config: stack_choice.Config = None,
        stack_name: stack_choice.StackName = "",
        topology: stack_choice.TopologyOf = None,
        service: Annotated[
            list[str] | None,
            typer.Option("--service", metavar="NAME", help="Only this one; may be given several times."),
        ] = None,
        image: Annotated[
            str | None, typer.Option("--image", help="Of all services, with {service} for each one's name.")
        ] = None,
        app: Annotated[
            str | None,
            typer.Option("--app", metavar="MODULE:NAME", help="What runs, with {service} for each one's name."),
        ] = None,
        least: Annotated[int | None, options.number("--min", least=0, help="Replicas at least.")] = None,
        most: Annotated[int | None, options.number("--max", help="Replicas at most.")] = None,
        messages: Annotated[
            int | None, options.number("--messages", help="Messages for each replica: waiting or in flight.")
        ] = None,
        grace: Annotated[
            str | None, typer.Option("--grace", help="How long handlers may go on after the signal to end.")
        ] = None,
        namespace: Annotated[str | None, typer.Option("--namespace", help="Of Kubernetes.")] = None,
        identity: Annotated[
            str | None, typer.Option("--identity", help="How pods prove who they are, where there are several ways.")
        ] = None,
        jobs: Annotated[bool, typer.Option("--jobs", help="Jobs that end by themselves, for KEDA to start.")] = False,
        fill: Annotated[
            list[str] | None,
            typer.Option("--set", metavar="NAME=VALUE", help="Fill in a ${NAME}; may be given several times."),
        ] = None,
        out: Annotated[
            Path | None, typer.Option("--out", metavar="FOLDER", help="Write files there, and not to stdout.")
        ] = None,
        json: options.Json = False,
    ) -> None:
        from polybus.plan.run.asked import Asked

        if json and out is not None:
            raise options.refuse("it is for stdout", "--json")
        asked = Asked(
            image=image,
            app=None if app is None else (app,),
            min=least,
            max=most,
            messages=messages,
            grace=None if grace is None else options.duration(grace, "--grace"),
        )
        request = _Request(platform, tuple(service or ()), asked, _pairs(fill or []), namespace, identity, jobs)
        choice = Choice(name, folder, cloud, config, stack_name, topology, "what runs services")
        _run(choice, request, out, json=json)

    command.__doc__ = SUMMARIES.get(platform, f"Print what runs services on {platform}.")
    return command


def _run(choice: Choice, request: _Request, out: Path | None, *, json: bool) -> None:
    from polybus.plan.run.blanks import Filler

    found = stack_choice.read(choice, _stand)
    platform = _platform(found.cloud, request)
    configured = {} if found.configured is None else found.configured.blanks
    filler = Filler({**configured, **request.filled})
    try:
        written = _written(found, request, platform, filler)
    except PolybusError as error:
        raise stack_choice.readable(error) from None
    files = {name: filler.filled(documents) for name, documents in written.files.items()}
    unused = request.filled.keys() - filler.used
    if unused:
        raise options.refuse(f"nothing is left open by the name of {', '.join(sorted(unused))}", "--set")
    if json:
        print_json({"files": files, "notes": written.notes, "open": filler.open})
        return
    for line in written.notes:
        note(f"polybus: {line}")
    if filler.open:
        note(f"polybus: left open, to be filled with --set NAME=VALUE: {', '.join(filler.open)}")
    if out is None:
        print(_text(files, written, request.platform), end="")
    else:
        _write(out, files, written, _title(request.platform, found))


def _stand(name: str, secret: bool) -> str:
    """Give the text that stands for what the stack's file leaves open, or has encrypted."""
    from polybus.plan.run.model import blank, blank_name

    return blank(blank_name(name))


def _platform(cloud: str, request: _Request) -> Platform:
    """Return what is to be written for; raises a usage error where the cloud or the platform hasn't got it."""
    from polybus.registry import each, find

    running: Running = find(cloud).load("running")
    if request.platform not in running.platforms:
        owners = [other.name for other in each("running") if request.platform in other.runs_on]
        instead = " or ".join(f"`polybus export {one}`" for one in running.platforms)
        raise options.refuse(
            f"{request.platform} runs services of {', '.join(owners)}, and the stack is on {cloud}; instead: {instead}",
            "STACK",
        )
    platform = running.platforms[request.platform]
    if request.namespace is not None and not platform.kubernetes:
        raise options.refuse(f"{request.platform} has no namespaces", "--namespace")
    if request.jobs and not platform.jobs:
        raise options.refuse(f"{request.platform} has no jobs that are started by messages here", "--jobs")
    if request.identity is not None and request.identity not in platform.identities:
        ways = ", ".join(platform.identities) or "the platform's own alone, so leave it out"
        raise options.refuse(f"found {request.identity!r}; allowed on {cloud}: {ways}", "--identity")
    return platform


def _written(found: Found, request: _Request, platform: Platform, filler: Any) -> Written:
    from polybus.plan.planning import planning_of
    from polybus.plan.run.model import Scene
    from polybus.plan.run.workloads import chosen, finder, workloads
    from polybus.provision.given import given
    from polybus.registry import find

    running: Running = find(found.cloud).load("running")
    planning, settings = planning_of(found.cloud), found.settings
    existing, values = ({}, {}) if found.configured is None else (found.configured.existing, found.configured.values)
    others = given(found.declared, existing, planning, settings, cloud=found.cloud, values=values)
    plan = planning.plan(others.topology, others.settings)
    services, idle = chosen(plan.topology, request.services)
    look = finder(running, plan)
    scene = Scene(
        plan=plan,
        find=look,
        workloads=workloads(
            plan,
            planning,
            look,
            services,
            _asked(found, request),
            platform=platform,
            stack=settings.stack,
            fill=filler.filled,
            said=others.text,
        ),
        namespace=request.namespace or "default",
        identity=request.identity or next(iter(platform.identities), ""),
        jobs=request.jobs,
    )
    written = platform.write(scene)
    written.notes += [f"{name} is left out: {why}" for name, why in idle.items()]
    return written


def _asked(found: Found, request: _Request) -> Callable[[str], Asked]:
    """Return what is asked of each service: on the command line, else in the stack's file."""
    from polybus.plan.run.asked import Asked, asked_of

    configured = found.configured
    table: Mapping[str, Asked] = {}
    if configured is not None:
        table = asked_of(configured.run, found.declared, f"{configured.place}: polybus:run")
    return lambda service: request.asked.over(table.get(service, Asked()))


def _pairs(given: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in given:
        name, equals, value = pair.partition("=")
        if not equals or not _NAME.fullmatch(name):
            raise options.refuse(f"{pair!r}; write NAME=VALUE", "--set")
        found[name] = value
    return found


def _title(platform: str, found: Found) -> str:
    of = f" for the stack {found.settings.stack}" if found.settings.stack else ""
    source = Path(found.declared.source).name
    return f"Written by `polybus export {platform}` from {source}{of}: change it there, and write this anew."


def _text(files: Mapping[str, Any], written: Written, platform: str) -> str:
    """Write all files as one text: YAML documents, or one JSON document where the platform takes JSON alone."""
    import msgspec

    from polybus.plan.run.written import stream

    several = [name for name in files if name not in written.plain]
    if not several:
        whole = {f"{name}.json": documents[0] for name, documents in files.items()}
        return msgspec.json.format(msgspec.json.encode(whole), indent=2).decode() + "\n"
    if len(several) < len(files):
        names = ", ".join(f"{name}.json" for name in written.plain)
        note(f"polybus: {names}: what else has to be set up; --out FOLDER or --json has it")
    return stream(document for name in several for document in files[name])


def _write(out: Path, files: Mapping[str, Any], written: Written, title: str) -> None:
    """Write the files, over no others than those of a former export; raises ConfigError for that."""
    import msgspec

    from polybus.plan.run.written import stream

    texts: dict[str, str] = {}
    for name, documents in files.items():
        if name in written.plain:
            texts[f"{name}.json"] = msgspec.json.format(msgspec.json.encode(documents[0]), indent=2).decode() + "\n"
        else:
            texts[f"{name}.yaml"] = f"# {title}\n{stream(documents)}"
    marker = out / _MARKER
    former = marker.read_text(encoding="utf-8").split() if marker.is_file() else []
    for name in texts:
        if (out / name).exists() and name not in former:
            raise ConfigError(f"{out / name} is there, and not of `polybus export`: name another folder, or remove it")
    out.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (out / name).write_text(text, encoding="utf-8")
    gone = [name for name in former if name not in texts and (out / name).exists()]
    marker.write_text("".join(f"{name}\n" for name in (*texts, *gone)), encoding="utf-8")
    for name in gone:
        note(f"polybus: {out / name} is of a former export, and of nothing that runs any more: remove it")
    note(f"wrote {len(texts)} files into {out}: {', '.join(texts)}")
