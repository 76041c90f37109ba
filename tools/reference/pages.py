"""The pages of docs/reference, by their names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from tools.reference import (
    api,
    commands,
    environment,
    errors,
    filters,
    limits,
    local_servers,
    stack,
    telemetry,
    topology,
)

__all__ = ["FOLDER", "pages"]

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "reference"

_NOTE = "<!-- Written by `make reference` from the code: change it there. -->\n\n"

_PAGES: Mapping[str, tuple[str, Callable[[], str]]] = {
    "topology.md": ("every key of polybus.toml", topology.page),
    "filters.md": ("the filter language", filters.page),
    "stack.md": ("every key of a stack's configuration", stack.page),
    "limits.md": ("what each cloud limits", limits.page),
    "commands.md": ("the command line", commands.page),
    "environment.md": ("environment variables", environment.page),
    "telemetry.md": ("spans and metrics", telemetry.page),
    "local-servers.md": ("what the local servers have", local_servers.page),
    "errors.md": ("errors, their codes, and what to do", errors.page),
    **api.PAGES,
}


def pages() -> dict[str, str]:
    """Return every page's text by its file's name."""
    texts = {"README.md": _index(), **{name: page() for name, (_, page) in _PAGES.items()}}
    return {name: _noted(text) for name, text in texts.items()}


def _noted(text: str) -> str:
    """Return a page with the note below its title, which has to come first."""
    title, _, rest = text.partition("\n\n")
    return f"{title}\n\n{_NOTE}{rest}"


def _index() -> str:
    lines = [f"- [{about[0].upper()}{about[1:]}]({name})" for name, (about, _) in _PAGES.items()]
    return "# Reference\n\nWritten from the code, so that it says what is so.\n\n" + "\n".join(lines) + "\n"
