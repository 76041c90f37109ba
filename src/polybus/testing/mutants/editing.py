"""Breaking a function in one place, in this process, for as long as a test runs."""

from __future__ import annotations

import importlib
import inspect
import textwrap
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

__all__ = ["Gone", "Patch", "edit", "together"]

Patch = Callable[[], AbstractContextManager[Any]]


class Gone(Exception):
    """The text that a mutant changes isn't there any more: the mutant has to follow the code."""


def edit(where: str, old: str, new: str) -> Patch:
    """Return what replaces `old` by `new`, each time that it stands there, in a function, method or constant.

    `where` is `module:name`, `module:Class.method`, or that of a constant of text. The patch raises Gone where there is
    no such text. A method that calls `super()` can't be edited.
    """

    @contextmanager
    def patched() -> Iterator[None]:
        owner, name = _find(where)
        original = vars(owner)[name]
        setattr(owner, name, _changed(where, original, old, new))
        try:
            yield
        finally:
            setattr(owner, name, original)

    return patched


def together(*patches: Patch) -> Patch:
    """Return what makes several patches at once."""

    @contextmanager
    def patched() -> Iterator[None]:
        with ExitStack() as stack:
            for patch in patches:
                stack.enter_context(patch())
            yield

    return patched


def _find(where: str) -> tuple[Any, str]:
    module, _, path = where.partition(":")
    *owners, name = path.split(".")
    owner: Any = importlib.import_module(module)
    for each in owners:
        owner = getattr(owner, each)
    if name not in vars(owner):
        raise Gone(f"{where}: there is no such thing")
    return owner, name


def _changed(where: str, original: Any, old: str, new: str) -> Any:
    if isinstance(original, str):
        return _replaced(where, original, old, new)
    function = original
    if isinstance(original, property):
        function = original.fget
    elif isinstance(original, classmethod | staticmethod):
        function = original.__func__
    source = _replaced(where, textwrap.dedent(inspect.getsource(function)), old, new)
    module = inspect.getmodule(function)
    made: dict[str, Any] = {}
    if source.startswith(" "):
        source = f"if True:\n{source}"  # a text in it has lines without an indent, so that none could be taken away
    code = compile(f"from __future__ import annotations\n{source}", f"<mutant of {where}>", "exec")
    exec(code, vars(module), made)  # noqa: S102 - the project's own text, changed by the mutant's
    return made[function.__name__]


def _replaced(where: str, text: str, old: str, new: str) -> str:
    if old not in text:
        raise Gone(f"{where}: {old!r} isn't there any more")
    return text.replace(old, new)
