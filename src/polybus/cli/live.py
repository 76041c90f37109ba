"""`polybus check --live`: what the binding's cloud has, beside what the topology declares."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

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
    from polybus.registry import find, offering

    binding, origin = resolve(source, origin="--binding")
    cloud = find(binding.backend)
    if not cloud.offers("live"):
        clouds = ", ".join(offering("live"))
        raise UnsupportedFeature(
            f"{origin}: the {binding.backend} backend has no cloud to compare with; --live reads: {clouds}"
        )
    chosen = stack or drift.stack_of(binding.bus, _names(binding))
    cloud.load("driver")  # raises MissingExtra with what to install
    compared = cloud.load("planning").compared
    if compared is None:
        raise UnsupportedFeature(f"the {cloud.name} backend has no plan that could be compared with what is there")
    _hold_addresses(topology.on(cloud.name))
    plan = compared(topology, binding, chosen)
    observed = await cloud.load("live")(binding, plan)
    result = drift.compare(plan.resources, observed, expected(topology, binding.backend))
    return Comparison(topology, binding, origin, chosen, result)


def _hold_addresses(topology: Topology) -> None:
    """Raise ConfigError where an adopted entry's address is open: there is no telling which it is."""
    from polybus.errors import ConfigError
    from polybus.plan.opened import where
    from polybus.topology.open import places

    unknown = [place for place in places(topology) if place.form == "existing"]
    if unknown:
        lines = [f"{topology.source}: at {place.path}: open: it is {where(place.value)}" for place in unknown]
        raise ConfigError("\n".join([*lines, "`polybus check --live --config FILE` reads it there"]))


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
            "closed": list(result.closed),
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
    for line in found.result.closed:
        note(f"polybus: not compared: {line}")
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
