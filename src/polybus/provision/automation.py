"""Pulumi's Automation API for `polybus up`, `preview` and the like: thin calls, for those who have the CLI.

`options` lead to another backend, environment or CLI than those of the user.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pulumi import automation as auto

from polybus.errors import ConfigError

__all__ = ["SECRET", "destroy", "outputs", "preview", "refresh", "resources", "up"]

SECRET = "[secret]"  # noqa: S105 - what is shown in place of one
"""Stands for an output that Pulumi keeps secret; polybus itself makes none."""

T = TypeVar("T")
Show = Callable[[str], None]
Options = auto.LocalWorkspaceOptions


def preview(
    stack: str, folder: Path, *, show: Show, policies: Path | None = None, options: Options | None = None
) -> Mapping[str, int]:
    """Show what an update would do, line by line, and return how many resources it would `create`, `update` and so on.

    Makes the stack where there is none, as `pulumi stack init` does. Raises ConfigError for what Pulumi refuses.
    """

    def run() -> Mapping[str, int]:
        chosen = auto.create_or_select_stack(stack, work_dir=str(folder), opts=options)
        made = chosen.preview(on_output=show, on_error=show, color="never", policy_packs=_packs(policies))
        return _counts(made.change_summary)

    return _explained(run, stack, folder, "preview")


def up(
    stack: str, folder: Path, *, show: Show, policies: Path | None = None, options: Options | None = None
) -> Mapping[str, int]:
    """Update a stack, showing Pulumi's own lines, and return what became of how many resources.

    Raises ConfigError where it fails, which may leave a part done.
    """

    def run() -> Mapping[str, int]:
        chosen = auto.create_or_select_stack(stack, work_dir=str(folder), opts=options)
        done = chosen.up(on_output=show, on_error=show, color="never", policy_packs=_packs(policies))
        return _counts(done.summary.resource_changes)

    return _explained(run, stack, folder, "up")


def refresh(stack: str, folder: Path, *, show: Show, options: Options | None = None) -> Mapping[str, int]:
    """Bring a stack's state to what there is, and return what became of how many resources; raises as `up` does."""

    def run() -> Mapping[str, int]:
        chosen = auto.select_stack(stack, work_dir=str(folder), opts=options)
        return _counts(
            chosen.refresh(on_output=show, on_error=show, color="never", suppress_outputs=True).summary.resource_changes
        )

    return _explained(run, stack, folder, "refresh")


def destroy(stack: str, folder: Path, *, show: Show, options: Options | None = None) -> Mapping[str, int]:
    """Delete all of a stack but its name, and return what became of how many resources; raises as `up` does."""

    def run() -> Mapping[str, int]:
        chosen = auto.select_stack(stack, work_dir=str(folder), opts=options)
        return _counts(
            chosen.destroy(on_output=show, on_error=show, color="never", suppress_outputs=True).summary.resource_changes
        )

    return _explained(run, stack, folder, "destroy")


def outputs(stack: str, folder: Path, *, options: Options | None = None) -> Mapping[str, Any]:
    """Return a stack's outputs, secrets replaced by SECRET; raises ConfigError for a stack that isn't there."""

    def run() -> Mapping[str, Any]:
        found = auto.select_stack(stack, work_dir=str(folder), opts=options).outputs()
        return {name: SECRET if output.secret else _parsed(output.value) for name, output in found.items()}

    return _explained(run, stack, folder, "outputs")


def resources(stack: str, folder: Path, *, options: Options | None = None) -> Sequence[Mapping[str, Any]]:
    """Return the resources in a stack's state, as `pulumi stack export` has them; raises as `outputs` does."""

    def run() -> Sequence[Mapping[str, Any]]:
        found = auto.select_stack(stack, work_dir=str(folder), opts=options).export_stack()
        listed: Sequence[Mapping[str, Any]] = (found.deployment or {}).get("resources") or ()
        return listed

    return _explained(run, stack, folder, "stack export")


def _counts(changes: Mapping[Any, int] | None) -> Mapping[str, int]:
    return {str(getattr(kind, "value", kind)): count for kind, count in (changes or {}).items()}


def _packs(policies: Path | None) -> list[str] | None:
    return None if policies is None else [str(policies.resolve())]


def _parsed(value: Any) -> Any:
    """Read a binding that was exported as text."""
    return json.loads(value) if isinstance(value, str) and value.startswith("{") else value


def _explained(run: Callable[[], T], stack: str, folder: Path, what: str) -> T:
    try:
        return run()
    except auto.StackNotFoundError:
        raise ConfigError(f"{folder}: there is no stack {stack!r}; `polybus up {stack}` makes it") from None
    except auto.ConcurrentUpdateError:
        raise ConfigError(
            f"{folder}: stack {stack!r} is being updated by another; wait for it, or `pulumi cancel`"
        ) from None
    except auto.CommandError as error:
        raise ConfigError(f"{folder}: pulumi {what} of stack {stack!r} failed: {_reason(str(error))}") from None


def _reason(text: str) -> str:
    """Find what the CLI said was wrong among all that it printed."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("error:")]
    return errors[-1].removeprefix("error:").strip() if errors else lines[-1] if lines else "it said nothing"
