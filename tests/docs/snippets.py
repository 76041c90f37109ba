"""The code that documents show, and how it is run: as files of a folder, in the order of the page.

A block whose first line is `# name.py` is that file: a module, or with `test_` a file of tests. Other Python is run
as a whole, where it stands, and may await. A TOML block with `[bus]` in it is the polybus.toml from there on.
"""

from __future__ import annotations

import ast
import asyncio
import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["ROOT", "Block", "blocks", "main", "pages"]

ROOT = Path(__file__).resolve().parents[2]
FRAMEWORKS = ("fastapi", "django", "celery", "faststream")
_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SCOPE = "asyncio_default_fixture_loop_scope=function"
_FILE = re.compile(r"# ([\w/]+\.(?:py|toml))\b")


@dataclass(frozen=True)
class Block:
    """A block of code of one page; `line` is where it begins, `file` what it says it is."""

    language: str
    text: str
    line: int

    @property
    def framework(self) -> bool:
        """Whether it needs what isn't installed where tests run; tools/site/test_frameworks.py runs it."""
        return re.search(rf"^\s*(?:from|import) (?:{'|'.join(FRAMEWORKS)})\b", self.text, re.MULTILINE) is not None

    @property
    def file(self) -> str:
        found = _FILE.match(self.text)
        return "" if found is None else found[1]


def pages() -> list[Path]:
    """List the documents for users that are written by hand."""
    written = sorted((ROOT / "docs").glob("*.md"))
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "stacks" / "README.md", *written]


def blocks(path: Path) -> Iterator[Block]:
    """Give the blocks of code of a document."""
    text = path.read_text(encoding="utf-8")
    for found in _FENCE.finditer(text):
        yield Block(found[1], found[2], text.count("\n", 0, found.start()) + 2)


def main(page: str) -> None:
    """Run a page's code in the working directory; in a process of its own, since it imports what it writes."""
    sys.path.insert(0, "")
    known: dict[str, Any] = {"__name__": "__main__"}
    tests = []
    for block in blocks(ROOT / page):
        if block.file.endswith(".py") or block.language == "toml":
            write(block)
        if block.language != "python" or block.framework:
            continue
        if block.file.startswith("test_"):
            tests.append(block.file)
        elif block.file:
            module = importlib.import_module(block.file.removesuffix(".py").replace("/", "."))
            asyncio.run(_run(getattr(module, "main", None)))
        else:
            code = compile(block.text, f"{page}:{block.line}", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            asyncio.run(_evaluated(code, known))
    if tests:
        import pytest

        sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", "-o", "asyncio_mode=auto", "-o", SCOPE, *tests]))


def write(block: Block) -> None:
    """Write a block to the file that it is."""
    if block.file:
        path = Path(block.file)
        path.parent.mkdir(exist_ok=True)
        path.write_text(block.text, encoding="utf-8")
    elif "[bus]" in block.text:
        Path("polybus.toml").write_text(block.text, encoding="utf-8")


async def _run(entry: Any) -> None:
    """Run what a module would do where it is started; a blocking one in a thread, as a script would block."""
    if inspect.iscoroutinefunction(entry):
        await entry()
    elif entry is not None:
        await asyncio.to_thread(entry)


async def _evaluated(code: Any, known: dict[str, Any]) -> None:
    result = eval(code, known)
    if inspect.isawaitable(result):
        await result


if __name__ == "__main__":
    main(sys.argv[1])
