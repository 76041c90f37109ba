"""Tables and sections as the pages have them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Sequence

__all__ = ["code", "literal_blocks", "summary", "table"]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; a column that is empty in every row is left out."""
    found = [list(row) for row in rows]
    kept = [number for number in range(len(head)) if any(row[number] for row in found)]
    lines = [[head[number] for number in kept], ["---"] * len(kept)]
    lines += [[_cell(row[number]) for number in kept] for row in found]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def code(text: object) -> str:
    """Return a text as code; "" stays so."""
    return f"`{text}`" if str(text) else ""


def summary(value: object) -> str:
    """Return the first paragraph of a docstring as one line."""
    return " ".join((inspect.getdoc(value) or "").partition("\n\n")[0].split())


def literal_blocks(docstring: str) -> str:
    """Return a docstring, without what it is indented by, as Markdown: an indented block is shown as it stands."""
    return re.sub(r"(?:^ {4}.*\n?(?:\n(?= {4}))?)+", lambda found: _fenced(found[0]), docstring, flags=re.MULTILINE)


def _fenced(block: str) -> str:
    return "```text\n" + inspect.cleandoc("\n" + block) + "\n```\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
