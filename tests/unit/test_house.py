"""The house has no circles: no file of polybus imports, in however many steps, one that imports it.

Every import counts, those under TYPE_CHECKING and inside of functions too: who reads the files turns in the circle
all the same. `from package import name` is an import of the file `package/name.py` where there is one, and of the
package's `__init__` otherwise. That Python runs the `__init__` of every package above a file isn't counted: the
importing file asks nothing of it, and those of polybus only re-export or register, mostly at first use. What an
`__init__` imports itself counts, lazily or not; what it loads by a name in a string doesn't.
"""

from __future__ import annotations

import ast
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import polybus

ROOT = Path(polybus.__file__).parent


def module_of(path: Path, root: Path) -> str:
    """Return the dotted name of a file, a package's for its `__init__`."""
    parts = path.relative_to(root.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def named(tree: ast.AST, package: str) -> Iterator[tuple[str, str]]:
    """Give (module, name) of each import, wherever it stands; the name is "" for `import module`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*above, *filter(None, [node.module])])
            yield from ((module, alias.name) for alias in node.names)


def imports(root: Path) -> dict[str, set[str]]:
    """Return which files under `root`, a package's folder, each of them imports, by their modules' names."""
    files = {module_of(path, root): path for path in root.rglob("*.py")}
    found: dict[str, set[str]] = {}
    for module, path in files.items():
        package = module if path.name == "__init__.py" else module.rpartition(".")[0]
        asked = named(ast.parse(path.read_text(encoding="utf-8")), package)
        there = (inner if (inner := f"{outer}.{name}") in files else outer for outer, name in asked)
        found[module] = {name for name in there if name in files and name != module}
    return found


def reached(graph: dict[str, set[str]], start: str) -> set[str]:
    """Return all that a file imports, in however many steps."""
    seen: set[str] = set()
    ahead = [start]
    while ahead:
        new = graph[ahead.pop()] - seen
        seen |= new
        ahead += new
    return seen


def circles(graph: dict[str, set[str]]) -> set[frozenset[str]]:
    """Return the sets of files that all reach each other."""
    reach = {module: reached(graph, module) for module in graph}
    return {
        frozenset(other for other in reach[module] if module in reach[other])
        for module in graph
        if module in reach[module]
    }


def in_words(circle: frozenset[str], graph: dict[str, set[str]]) -> str:
    return "\n".join(f"  {module} imports {', '.join(sorted(graph[module] & circle))}" for module in sorted(circle))


def test_no_file_is_in_a_circle() -> None:
    graph = imports(ROOT)
    found = circles(graph)
    assert not found, "circles of imports:\n" + "\n\n".join(sorted(in_words(circle, graph) for circle in found))


def test_every_way_to_write_an_import_counts(tmp_path: Path) -> None:
    root = tmp_path / "house"
    (root / "room").mkdir(parents=True)
    (root / "__init__.py").write_text("LATER = {'top': 'house.top'}\n")
    (root / "room" / "__init__.py").write_text("from house.room.one import ONE\n")
    (root / "room" / "one.py").write_text("if TYPE_CHECKING:\n    from house.room import two\nONE = 1\n")
    (root / "room" / "two.py").write_text("def later():\n    import house.room.three\n")
    (root / "room" / "three.py").write_text("from . import one\nfrom ..top import TOP\n")
    (root / "top.py").write_text("from house import __doc__\n")
    graph = imports(root)
    assert graph == {
        "house": set(),
        "house.room": {"house.room.one"},
        "house.room.one": {"house.room.two"},
        "house.room.two": {"house.room.three"},
        "house.room.three": {"house.room.one", "house.top"},
        "house.top": {"house"},
    }
    assert circles(graph) == {frozenset({"house.room.one", "house.room.two", "house.room.three"})}


def test_nothing_refers_to_documents_that_are_not_here() -> None:
    """A reader of the repository alone can follow every reference."""
    elsewhere = re.compile(r"\bDESIGN\b|\blimits\.md\b|\bHOUSE\b|\bissue \d+\)")
    files = (*ROOT.rglob("*.py"), *(Path(__file__).parents[2] / "docs").glob("*.md"))
    found = [f"{path}: {name}" for path in files for name in elsewhere.findall(path.read_text())]
    assert found == []


# Where clouds are named outside of their folders, and why. Docstrings and comments may name them anywhere.
NAMED = {
    "polybus.registry": "registers those that polybus brings",
    "polybus.moved": "knows the names that modules had before",
    "polybus.cli.main": "says in its help what polybus is for",
    "polybus.topology.limits": "refuses attribute names that any cloud reserves, whatever is installed",
    "polybus.testing.conformance.limits": "tries such names",
}
CLOUD = re.compile(r"(?<![a-z])(aws|azure|gcp)(?![a-z])", re.IGNORECASE)
ROOMS = ("polybus.clouds", "polybus.localcloud", "polybus.serverless")


def words_of(path: Path) -> Iterator[str]:
    """Give the names and texts of a file, but for its docstrings: a text that stands alone is one, wherever it does."""
    texts = (tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING))  # the latter from Python 3.12 on
    begins = (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
    with path.open("rb") as file:
        stands_alone = True
        for token in tokenize.tokenize(file.readline):
            if token.type == tokenize.NAME or (token.type in texts and not stands_alone):
                yield token.string
            if token.type not in (tokenize.COMMENT, tokenize.NL, tokenize.ENCODING):
                stands_alone = token.type in begins


def test_only_a_cloud_s_own_rooms_name_it() -> None:
    naming = {
        module: words
        for path in ROOT.rglob("*.py")
        if not (module := module_of(path, ROOT)).startswith(ROOMS)
        and (words := [word for word in words_of(path) if CLOUD.search(word)])
    }
    unexpected = {module: words for module, words in naming.items() if module not in NAMED}
    assert unexpected == {}, "ask polybus.registry, or the Cloud, or move it into the cloud's folder"
    assert NAMED.keys() <= naming.keys(), "an exception that is none any more"


def test_texts_count_where_they_are_no_docstrings(tmp_path: Path) -> None:
    file = tmp_path / "file.py"
    file.write_text(
        '"""Of aws."""\n# azure\nA = "aws_1"\n"""Of gcp."""\n\n\ndef azure():\n    """AWS."""\n    return f"gcp {A}"\n'
    )
    assert [found for word in words_of(file) for found in CLOUD.findall(word)] == ["aws", "azure", "gcp"]
