"""Another stack's binding, from inside a Pulumi program."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pulumi

from polybus.binding import Binding
from polybus.errors import BindingError
from polybus.provision.values import whole

__all__ = ["binding_of"]


def binding_of(
    stack: str | pulumi.StackReference,
    *,
    output: str = "polybus",
    service: str | None = None,
    pushes: Sequence[str] = (),
) -> pulumi.Output[str]:
    """Return the binding that a stack exports, as the JSON text that POLYBUS_BINDING takes.

    `stack` is `<organization>/<project>/<stack>`, or a reference that is there. `output` is the name under which it is
    exported; a stack without it fails the update with RunError, which names both. With `service` it is what that
    service may use and no more, which is a fraction of the whole; `pushes` are push subscriptions that it handles.
    """
    reference = stack if isinstance(stack, pulumi.StackReference) else pulumi.StackReference(stack)
    found: pulumi.Output[str] = pulumi.Output.all(reference.name, reference.get_output(output)).apply(
        lambda both: _part(_text(both[0], output, both[1]), both[0], service, pushes)
    )
    return found


def _part(text: str, stack: str, service: str | None, pushes: Sequence[str]) -> str:
    if service is None:
        return text
    try:
        return Binding.from_json(text, source=stack).for_service(service, pushes=pushes).to_compact_json()
    except BindingError as error:
        raise pulumi.RunError(f"the stack {stack}: {error}") from error


def _text(stack: str, output: str, binding: Any) -> str:
    if binding is None:
        raise pulumi.RunError(f"the stack {stack} exports no {output!r}: it has to export a MessageBus's binding")
    # Programs in other languages export the component's `bindingJson`, which is the text already.
    return binding if isinstance(binding, str) else json.dumps(whole(binding), sort_keys=True)
