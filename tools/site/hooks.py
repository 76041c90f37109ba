"""mkdocs' hooks: which page is in which section, and what links that lead out of docs/ become.

The documents are read in the repository as well, where a link to `../benchmarks/README.md` leads somewhere. On the site
the documents beside docs/ are pages too, and what else is linked to is named by its path.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]

BESIDE = {
    "README.md": "project/readme.md",
    "CHANGELOG.md": "project/changelog.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "SECURITY.md": "project/security.md",
    "stacks/README.md": "project/stacks.md",
    "benchmarks/README.md": "project/benchmarks.md",
    "examples/training_pipeline/README.md": "project/training-pipeline.md",
}
"""Documents beside docs/, each with the page that it is on the site; those that aren't there are left out."""

SECTIONS = {
    "Start": "index install first-service configuration local testing",
    "Build": "publishing middleware outbox schedule large-bodies encryption handlers batches flow once message-types "
    "contracts cloudevents ordering dead-letters observability health serverless catalogue",
    "Run": "running containers provisioning project/stacks terraform changes adopt upgrade runbook troubleshooting",
    "Clouds": "aws azure gcp redis",
    "Coming from": "from-celery from-boto3 from-faststream",
    "How it works": "contract wire reliability performance project/benchmarks write-a-backend",
}
"""The sections, with their pages in this order: those that aren't there are left out, those not named at the end."""

_TEXTS: dict[str, tuple[str, str]] = {}

_LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)\s#:]+)(#[^)\s]*)?\)")


def on_files(files: Any, config: Any) -> Any:
    """Add the documents beside docs/."""
    from mkdocs.structure.files import File  # type: ignore[import-not-found,unused-ignore] # of `make docs` alone

    for source, page in BESIDE.items():
        if (ROOT / source).is_file():
            text = (ROOT / source).read_text(encoding="utf-8")
            files.append(File.generated(config, page, content=_relinked(text, source, page)))
    config["nav"] = list(_nav({file.src_uri for file in files.documentation_pages()}))
    return files


def on_page_markdown(markdown: str, page: Any, **given: Any) -> str:
    """Give the links of a page that lead out of docs/ another end, and the reference the first place in searches."""
    if page.file.src_uri.startswith("reference/"):
        page.meta.setdefault("search", {"boost": 3})
    if page.file.src_uri in BESIDE.values():
        return markdown
    return _relinked(markdown, f"docs/{page.file.src_uri}", page.file.src_uri)


def on_page_content(html: str, page: Any, **given: Any) -> str:
    """Keep what a page says as Markdown, the docstrings in it too."""
    from markdownify import markdownify  # type: ignore[import-not-found,unused-ignore]

    text = markdownify(re.sub(r'<a class="headerlink".*?</a>', "", html), heading_style="ATX", escape_misc=False)
    _TEXTS[page.file.src_uri] = (page.title, re.sub(r"\n{3,}", "\n\n", text).strip() + "\n")
    return html


def on_post_build(config: Any, **given: Any) -> None:
    """Write llms.txt, which lists the pages; each of them as Markdown beside its HTML; and llms-full.txt, with all."""
    site = Path(config["site_dir"])
    about = f"# {config['site_name']}\n\n> {config['site_description']}\n"
    listed, whole = [about], [about]
    for section, names in _listed(config["nav"]):
        listed.append(f"\n## {section}\n\n")
        for name in names:
            title, text = _TEXTS[name]
            (site / name).write_text(text, encoding="utf-8")
            listed.append(f"- [{title}]({name})\n")
            whole.append(f"\n{text}")
    (site / "llms.txt").write_text("".join(listed), encoding="utf-8")
    (site / "llms-full.txt").write_text("".join(whole), encoding="utf-8")


def _listed(nav: list[Any]) -> Iterator[tuple[str, list[str]]]:
    """Give the sections with the pages in them, those of sections inside of them too."""
    for section in nav:
        for title, pages in section.items():
            yield title, [page for page in pages if isinstance(page, str)]
            yield from _listed([page for page in pages if not isinstance(page, str)])


def _nav(pages: set[str]) -> Iterator[Any]:
    left = set(pages)
    for title, names in SECTIONS.items():
        found = [f"{name}.md" for name in names.split() if f"{name}.md" in pages]
        left -= set(found)
        yield {title: found}
    for title, folder in (("Reference", "reference"), ("Decisions", "adr"), ("Project", "project")):
        found = sorted(page for page in left if page.startswith(f"{folder}/"))
        left -= set(found)
        first = [page for page in found if page.endswith("/README.md")]
        inner = [page for page in found if page.startswith(f"{folder}/api/")]
        below = [{"Python API": inner}] if inner else []
        yield {title: [*first, *(page for page in found if page not in (*first, *inner)), *below]}
    if left:
        yield {"More": sorted(left)}


def _relinked(text: str, source: str, page: str) -> str:
    """Return a document with its links as the site needs them; `source` is its path in the repository."""
    return "".join(_outside_code(text, lambda part: _LINK.sub(lambda found: _link(found, source, page), part)))


def _outside_code(text: str, change: Any) -> Iterable[str]:
    parts = re.split(r"(^```.*?^```$)", text, flags=re.MULTILINE | re.DOTALL)
    return (part if part.startswith("```") else change(part) for part in parts)


def _link(found: re.Match[str], source: str, page: str) -> str:
    words, target, anchor = found[1], found[2], found[3] or ""
    path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
    if path.startswith("docs/"):
        there = path.removeprefix("docs/")
    elif path in BESIDE:
        there = BESIDE[path]
    else:
        return f"{words} (`{path}`)" if words.strip("`") != path else words
    return f"[{words}]({posixpath.relpath(there, posixpath.dirname(page) or '.')}{anchor})"
