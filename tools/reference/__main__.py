"""`python -m tools.reference`: write docs/reference anew."""

from __future__ import annotations

from tools.reference.pages import FOLDER, pages


def main() -> None:
    """Write every page, and remove what is no page any more."""
    found = pages()
    FOLDER.mkdir(parents=True, exist_ok=True)
    for path in set(FOLDER.rglob("*.md")) - {FOLDER / name for name in found}:
        path.unlink()
    for name, text in found.items():
        path = FOLDER / name
        path.parent.mkdir(exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path.relative_to(FOLDER.parents[1])}")


if __name__ == "__main__":
    main()
