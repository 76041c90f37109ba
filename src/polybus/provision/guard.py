"""What is asked of a cloud before a stack makes anything that may be another's."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from polybus.errors import PolybusError

if TYPE_CHECKING:
    import pulumi

__all__ = ["Ask", "Guard", "Question", "asked"]

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
