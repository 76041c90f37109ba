"""`polybus check --live`: what the binding's cloud has, beside what the topology declares."""

from __future__ import annotations

import importlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from polybus.cli.output import console, note, print_json, table

if TYPE_CHECKING:
    from polybus.binding import Binding
    from polybus.plan.drift import Drift, Result
    from polybus.topology.model import Topology

__all__ = ["Comparison", "compare", "report"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was compared with what, and the result."""

    topology: Topology
    binding: Binding
    origin: str
    stack: str
    result: Result

    @property
    def drifts(self) -> tuple[Drift, ...]:
        """What isn't as declared."""
        return self.result.drifts

    @property
    def stale(self) -> bool:
        """Whether the binding is of another topology than the file."""
        from polybus.topology.model import digest

        return bool(self.binding.digest) and self.binding.digest != digest(self.topology)


async def compare(topology: Topology, source: str | None, stack: str) -> Comparison:
    """Read the cloud of a binding and compare it with a topology's plan; `stack` of "" is found in the binding.

    Raises UnsupportedFeature for a backend without a cloud behind it, BackendError for what the cloud refuses.
    """
    from polybus.bus.resolve import resolve
    from polybus.errors import UnsupportedFeature
    from polybus.plan import drift
    from polybus.plan.adopted import expected
    from polybus.topology.model import CLOUDS

    binding, origin = resolve(source, origin="--binding")
    if binding.backend not in CLOUDS:
        clouds = ", ".join(CLOUDS)
        raise UnsupportedFeature(
            f"{origin}: the {binding.backend} backend has no cloud to compare with; --live reads: {clouds}"
        )
    chosen = stack or drift.stack_of(binding.bus, _names(binding))
    plan = _plan(topology, binding, chosen)
    observed = await _reader(binding.backend)(binding, plan)
    result = drift.compare(plan.resources, observed, expected(topology, binding.backend))
    return Comparison(topology, binding, origin, chosen, result)


def report(found: Comparison, *, json: bool) -> None:
    """Print what isn't as declared, and what wasn't compared."""
    result = found.result
    if json:
        told = {
            "topology": found.topology.source,
            "binding": found.origin,
            "stack": found.stack,
            "ok": not result.drifts,
            "compared": result.compared,
            "not_compared": result.unread,
            "drifts": [asdict(drift) for drift in result.drifts],
            "waiting": [asdict(drift) for drift in result.waiting],
        }
        print_json(told)
        return
    if result.drifts:
        shown = table("drift", "resource", "from", "where", "difference")
        for drift in result.drifts:
            edits = "\n".join(
                f"{edit.property}: planned {edit.planned or 'nothing'}, found {edit.found or 'nothing'}"
                for edit in drift.differences
            )
            shown.add_row(drift.kind.value, drift.resource, drift.entry, drift.address, edits)
        console().print(shown)
    else:
        print(f"{found.binding.backend}: {result.compared} resources are as declared")
    _remarks(found)


def _remarks(found: Comparison) -> None:
    if found.result.unread:
        kinds = ", ".join(_counted(count, kind) for kind, count in found.result.unread.items())
        note(f"polybus: not compared, only Pulumi reads it (`pulumi preview --refresh`): {kinds}")
    if found.stale:
        note(f"polybus: {found.origin}: made from another topology than {found.topology.source}")
    for drift in found.result.waiting:
        note(
            f"polybus: {drift.address} waits to be confirmed, by the link that SNS sent there: till then no alarm comes"
        )
    if found.result.drifts:
        pending = [drift for drift in found.drifts if drift.awaits_consent]
        for drift in pending:
            note(
                f"polybus: {drift.address} waits to be confirmed, by the link that SNS sent there: nothing is delivered"
            )
        count = len(found.result.drifts)
        things = "thing is" if count == 1 else "things are"
        advice = "" if len(pending) == count else "; `pulumi up --refresh` makes it so"
        note(f"polybus: {count} {things} not as declared{advice}")


def _counted(count: int, kind: str) -> str:
    return f"{count} {kind}" if count == 1 or kind.endswith("s") else f"{count} {kind}s"


def _names(binding: Binding) -> dict[str, str]:
    """Give the physical names of topics and queues, without what a cloud appends to them."""
    entities = {**binding.topics, **binding.queues}
    last = {name: entity.address.replace(":", "/").rpartition("/")[2] for name, entity in entities.items()}
    return {name: address.removesuffix(".fifo") for name, address in last.items()}


def _plan(topology: Topology, binding: Binding, stack: str) -> Any:
    """Plan with what the binding says of the stack's configuration; what it doesn't say isn't compared."""
    from polybus.clouds.aws.plan import resources as aws
    from polybus.clouds.azure.plan import resources as azure
    from polybus.clouds.gcp.plan import resources as gcp
    from polybus.plan.same import ANY

    settings = binding.settings
    pushes = (item.push for item in topology.subscriptions.values() if item.push is not None)
    functions = dict.fromkeys((push.function for push in pushes if push.function is not None), ANY)
    match binding.backend:
        case "aws":
            return aws.plan(topology, aws.AwsSettings(stack=stack, region=settings.get("region"), functions=functions))
        case "gcp":
            return gcp.plan(
                topology, gcp.GcpSettings(stack=stack, project=settings.get("project"), functions=functions)
            )
    return azure.plan(
        topology,
        azure.AzureSettings(
            stack=stack,
            namespace=str(settings["namespace"]).partition(".")[0],
            sku="Premium",  # it takes what the other does and more; which one it is, is the stack's to say
            functions={name: azure.Principal(ANY) for name in functions},
        ),
    )


def _reader(backend: str) -> Any:
    from polybus import clouds as backends

    backends.load(backend)  # raises MissingExtra with what to install
    return importlib.import_module(f"polybus.clouds.{backend}.live").live
