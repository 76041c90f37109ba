"""Plain lines, as wide as the reader's terminal."""

from __future__ import annotations

import shutil
import sys
import textwrap

__all__ = ["wrapped"]


def wrapped(text: str, indent: str) -> str:
    """Return `text` indented and, on a terminal, folded to its width; elsewhere one line, which `grep` finds whole."""
    if not sys.stdout.isatty():
        return indent + text
    width = shutil.get_terminal_size().columns
    return textwrap.fill(text, width, initial_indent=indent, subsequent_indent=indent + "  ", break_long_words=False)
