"""How this polybus was installed, so that a line of pip that it prints brings more of the same one.

A release comes from an index, by its name. One that was installed from a repository, a folder or a file is on no index,
or is another there: its extras come from where it came from, which pip notes beside the package (PEP 610).
"""

from __future__ import annotations

import json
import shlex
from importlib.metadata import PackageNotFoundError, distribution
from typing import Any
from urllib.parse import unquote, urlsplit

__all__ = ["origin", "requirement"]


def origin() -> str:
    """Return the address that pip would take for this polybus, as in `polybus @ ADDRESS`; "" for a release of an index.

    It is a URL: `git+https://...@COMMIT`, or `file://` with a folder or a wheel; without what may be a secret in it, a
    name and password or a query, which whoever installs it again has to add.
    """
    noted = _noted()
    url = _without_secrets(str(noted.get("url", "")))
    vcs = noted.get("vcs_info")
    if vcs:
        url = f"{vcs['vcs']}+{url}@{vcs['commit_id']}"
    if noted.get("subdirectory"):
        url += f"#subdirectory={noted['subdirectory']}"
    return url


def requirement(extra: str = "") -> str:
    """Return what `pip install` is given to have polybus with an extra, quoted for a shell."""
    named = f"polybus[{extra}]" if extra else "polybus"
    noted, address = _noted(), origin()
    if not address:
        return f"'{named}'"
    if "dir_info" not in noted:
        return shlex.quote(f"{named} @ {address}")
    folder = unquote(urlsplit(address).path)
    editable = "-e " if noted["dir_info"].get("editable") else ""
    return editable + shlex.quote(f"{folder}[{extra}]" if extra else folder)


def _without_secrets(url: str) -> str:
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    # The user of ssh's repositories is no secret, and they can't be reached without it.
    return parts._replace(netloc=f"git@{host}" if at and user == "git" else host, query="", fragment="").geturl()


def _noted() -> dict[str, Any]:
    """Return what the installer noted of where polybus came from; nothing for an index, or without an installation."""
    try:
        text = distribution("polybus").read_text("direct_url.json")
    except PackageNotFoundError:
        return {}
    return dict(json.loads(text)) if text else {}
