"""What provisioning has to know of one cloud beside its plan: its Pulumi provider, and what a stack's config says."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from polybus.errors import ConfigError, PolybusError
from polybus.plan.planning import CloudPlan, CloudSettings, Planning
from polybus.plan.settings import refuse
from polybus.provision.filled import Hidden
from polybus.provision.given import Given, given
from polybus.provision.sdk import Sdk
from polybus.registry import each, find, offering
from polybus.topology.model import Topology
from polybus.topology.table import nearest

if TYPE_CHECKING:
    import pulumi

    from polybus.plan.later import Text
    from polybus.provision.config import StackConfig

__all__ = ["Ask", "Guard", "Provider", "Question", "asked", "cloud_named", "elsewhere"]

Question: TypeAlias = tuple[str, Mapping[str, Any]]
"""A function of the provider's by its token, and its arguments."""

Guard: TypeAlias = Callable[[Any], Generator[Sequence[Question], Sequence[Any], None]]
"""Looks at a plan: yields questions, is sent the provider's answers, and raises ConfigError for what can't go on."""

Ask: TypeAlias = "Callable[[Question], pulumi.Output[Any]]"


def asked(guard: Guard, plan: object, ask: Ask) -> pulumi.Output[Any]:
    """Let a guard ask; the output is there once it has no more questions, and fails where it refuses.

    In a preview that can't ask yet, as of an account that the same program makes, it is unknown.
    """
    import pulumi  # what only plans needs no engine

    steps = guard(plan)

    def on(answers: Sequence[Any] | None) -> pulumi.Output[Any]:
        try:
            questions = next(steps) if answers is None else steps.send(answers)
        except StopIteration:
            return pulumi.Output.from_input(True)
        except PolybusError as error:
            raise pulumi.RunError(str(error)) from error
        return pulumi.Output.all(*(ask(question) for question in questions)).apply(on)

    return on(None)


@dataclass(frozen=True, slots=True)
class Provider:
    """One cloud's provider: its SDK, and how a stack config becomes the plan's settings.

    `first(bus)` gives example settings for a first stack's file, in YAML: for development, and for production.
    `keys` are the keys of the stack config that only this cloud reads; `who` is the one that says who each service is,
    "" where none does. `inputs` are the settings whose values may be outputs of other resources. `guard` looks at what
    is there before anything is made that keeps messages.
    """

    name: str
    planning: Planning
    sdk: Sdk
    settings: Callable[[StackConfig], Any]
    keys: Mapping[str, str]
    who: str = ""
    inputs: frozenset[str] = frozenset()
    guard: Guard | None = None
    first: Callable[[str], tuple[str, str]] = lambda bus: ("", "")

    def given(
        self,
        declared: Topology,
        existing: Mapping[str, Text],
        settings: CloudSettings | None,
        values: Mapping[str, Text | Hidden] | None = None,
    ) -> Given:
        """Fill in and adopt what the stack says.

        Raises ConfigError for what the topology or the cloud doesn't have, and for what the topology leaves open and
        the stack too.
        """
        chosen = self.planning.settings() if settings is None else settings
        known = self.deferred(chosen)
        return given(declared, existing, self.planning, known, cloud=self.name, values=values, defer=self.deferred)

    def planned(self, topology: Topology, settings: CloudSettings | None) -> CloudPlan:
        """Plan a topology; raises ConfigError or UnsupportedFeature with everything that is wrong for this cloud."""
        plan = self.planning.plan(topology, self.deferred(settings))
        known, of = self.planning.arguments, self.planning.sdk
        self.sdk.check(plan.resources, topology.source, self.name, known=known, known_of=of)
        return plan

    def deferred(self, settings: object) -> Any:
        """Give settings to plan with: what is an output is known later. Raises ConfigError for where none can be."""
        if settings is not None and not isinstance(settings, self.planning.settings):
            expected, found = self.planning.settings.__name__, type(settings).__name__
            raise ConfigError(f"settings: found {found}; {self.name} takes {expected}")
        from polybus.provision.values import (
            deferred,
        )  # which alone needs Pulumi: a plan for another tool has no outputs

        return deferred(settings, self.inputs, self.name, self._hold)

    def _hold(self, settings: Any) -> None:
        refuse(self.name, self.planning.mistakes(settings))


def cloud_named(name: str) -> Provider:
    """Return a cloud's provider; its SDK isn't imported yet. Raises ConfigError for any other name."""
    known = offering("provider")
    if name not in known:
        near = nearest(name, known)
        hint = f"; did you mean {near}?" if near else ""
        raise ConfigError(f"found the cloud {name!r}; allowed: {', '.join(known)}{hint}")
    return cast(Provider, find(name).load("provider"))


def elsewhere(provider: Provider) -> dict[str, str]:
    """Return the keys that only other clouds read, each with the cloud that does."""
    others = [cast(Provider, cloud.load("provider")) for cloud in each("provider") if cloud.name != provider.name]
    return {key: other.name for other in others for key in other.keys if key not in provider.keys}
