"""The component: one cloud's plan, folded into the provider's resources one for one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pulumi

from polybus.plan.entities import service_bindings
from polybus.plan.planning import CloudSettings, unannounced
from polybus.plan.values import Ref, Resource
from polybus.provision.cloud import Provider, Question, asked, cloud_named
from polybus.provision.filled import Hidden
from polybus.provision.values import folded
from polybus.topology.file import load
from polybus.topology.model import Topology

__all__ = ["TYPE", "MessageBus"]

TYPE = "polybus:index:MessageBus"
"""The component's type token. It is in every child's URN, so it never changes."""


class MessageBus(pulumi.ComponentResource):
    """Everything that one topology needs on one cloud.

    `binding` is what services read, as plain data with outputs as leaves; it is also the component's registered output.
    `bindings` has what each service reads of it, and no more, as the JSON that POLYBUS_BINDING takes. `exports` has
    what other infrastructure needs (ARNs, URLs, resource ids, IAM policies), `children` every resource by its logical
    name in the plan. None of them holds a secret.
    """

    def __init__(
        self,
        name: str,
        *,
        topology: Topology | Path | str,
        cloud: str,
        settings: CloudSettings | None = None,
        existing: Mapping[str, pulumi.Input[str]] | None = None,
        values: Mapping[str, pulumi.Input[str] | Hidden] | None = None,
        protect: bool = False,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Create the resources of `topology` (or of its file) on `cloud`: "aws", or any other that has a provider.

        `settings` are of the type that the cloud's plan takes, such as AwsSettings; None stands for its defaults.
        `existing` are ARNs or ids of topics and queues to adopt, by their names in the topology, over what it declares.
        `values` are what it leaves open, by the names that it has for them: `{ config = "hook" }` is `values["hook"]`.
        `name` begins every child's name. `protect` keeps all of it from being deleted or replaced. Raises
        ConfigError or UnsupportedFeature, before the first resource, for what is wrong with the topology, the settings
        or a provider's argument, and MissingExtra where the provider's SDK isn't installed.
        """
        chosen = cloud_named(cloud)
        declared = topology if isinstance(topology, Topology) else load(Path(topology))
        # Once: a coroutine among the settings can't be awaited by each that needs it.
        known = chosen.deferred(settings)
        others = chosen.given(declared, existing or {}, known, values)
        plan = chosen.planned(others.topology, others.settings)
        # All of it, and not what holds messages alone: the engine goes past what is protected and deletes the rest, and
        # a queue is of no use without its policies and grants. Children inherit it.
        held = pulumi.ResourceOptions(protect=True) if protect else None
        super().__init__(TYPE, name, {}, pulumi.ResourceOptions.merge(opts, held))
        fold = _Fold(self, chosen, name, others.text)
        if chosen.guard is not None:
            fold.hold(asked(chosen.guard, plan, fold.ask))
        for resource in plan.resources:
            fold.make(resource)
        self.binding: Mapping[str, Any] = fold.folded(chosen.planning.binding_values(plan))
        self.bindings: Mapping[str, pulumi.Output[str]] = {
            service: pulumi.Output.json_dumps(
                fold.folded(values), separators=(",", ":"), ensure_ascii=False, sort_keys=True
            )
            for service, values in service_bindings(plan.topology, chosen.planning.binding_values(plan)).items()
        }
        self.exports: Mapping[str, Any] = fold.folded(chosen.planning.exports(plan))
        self.children: Mapping[str, pulumi.Resource] = fold.children
        self.register_outputs({"binding": self.binding, "bindings": dict(self.bindings), **self.exports})


class _Fold:
    """Makes the children of one component."""

    def __init__(self, parent: pulumi.Resource, cloud: Provider, name: str, text: Callable[[str], Any]) -> None:
        self._parent = parent
        self._sdk = cloud.sdk
        self._name = name
        self._text = text
        self._looked_up: dict[str, Any] = {}
        self._held: pulumi.Output[Any] | None = None
        self.children: dict[str, pulumi.Resource] = {}

    def make(self, resource: Resource) -> None:
        """Make one resource, or read it; what it refers to has been made before."""
        arguments = self.folded(self._sdk.taken(resource))
        if resource.kind == "lookup":
            self._looked_up[resource.name] = self.ask((resource.type, arguments))
            return
        after = [self.children[name] for name in resource.after]
        held = self._held if resource.keeps_messages else None
        fixed = sorted(unannounced(resource.type))
        options = pulumi.ResourceOptions(
            parent=self._parent,
            # Names are explicit, so the old one has to go first: what is made anew bears the same name.
            delete_before_replace=True if fixed else None,
            replace_on_changes=fixed or None,
            depends_on=after if held is None else held.apply(lambda _: after),
            retain_on_delete=True if resource.stays else None,
        )
        # A child's URN has its parent's type, and not its name: two buses in one program would clash without it.
        name = f"{self._name}-{resource.name}"
        self.children[resource.name] = self._sdk.resource(resource.type)(name, opts=options, **arguments)

    def ask(self, question: Question) -> pulumi.Output[Any]:
        """Call a function of the provider's."""
        type_, arguments = question
        found: pulumi.Output[Any] = self._sdk.lookup(type_)(**arguments, opts=pulumi.InvokeOptions(parent=self._parent))
        return found

    def hold(self, held: pulumi.Output[Any]) -> None:
        """Make nothing that keeps messages until this is there."""
        self._held = held

    def folded(self, value: Any) -> Any:
        """Return a value of the plan as Pulumi's."""
        return folded(value, self.find, self._text)

    def find(self, ref: Ref) -> pulumi.Output[Any]:
        """Return what a reference stands for."""
        made: Any = self._looked_up.get(ref.resource) or self.children[ref.resource]
        output: pulumi.Output[Any] = getattr(made, ref.output)
        return output
