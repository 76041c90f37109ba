"""docs/reference says what the code says."""

from __future__ import annotations

from pathlib import Path

from tools.reference.pages import FOLDER, pages


def test_every_page_is_as_the_code_would_write_it_now() -> None:
    found = pages()
    stale = [name for name, text in found.items() if not is_as(FOLDER / name, text)]
    assert stale == [], "run `make reference`"


def test_no_page_is_left_of_what_is_no_more() -> None:
    assert {path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*.md")} == set(pages())


def is_as(path: Path, text: str) -> bool:
    return path.exists() and path.read_text(encoding="utf-8") == text
