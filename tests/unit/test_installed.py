"""What pip is told to install is found by pip, however this polybus came here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from polybus.errors import MissingExtra
from polybus.installed import origin, requirement

GIT = {
    "url": "https://forge.example/bus.git",
    "vcs_info": {"vcs": "git", "commit_id": "0a1b"},
}
WHEEL = {"url": "file:///tmp/polybus-0.1.0-py3-none-any.whl", "archive_info": {}}


def install(folder: Path, noted: dict[str, Any] | None) -> None:
    """Put metadata of a polybus into a folder, as pip does, and its note of where it came from."""
    home = folder / "polybus-0.1.0.dist-info"
    home.mkdir()
    (home / "METADATA").write_text("Metadata-Version: 2.1\nName: polybus\nVersion: 0.1.0\n")
    if noted is not None:
        (home / "direct_url.json").write_text(json.dumps(noted))


@pytest.mark.parametrize(
    ("noted", "address", "told"),
    [
        (None, "", "'polybus[aws]'"),
        (
            GIT,
            "git+https://forge.example/bus.git@0a1b",
            "'polybus[aws] @ git+https://forge.example/bus.git@0a1b'",
        ),
        (
            {**GIT, "subdirectory": "py"},
            "git+https://forge.example/bus.git@0a1b#subdirectory=py",
            "'polybus[aws] @ git+https://forge.example/bus.git@0a1b#subdirectory=py'",
        ),
        (WHEEL, WHEEL["url"], f"'polybus[aws] @ {WHEEL['url']}'"),
        (
            {**GIT, "url": "https://ada:ghp_token@forge.example:8443/bus.git"},
            "git+https://forge.example:8443/bus.git@0a1b",
            "'polybus[aws] @ git+https://forge.example:8443/bus.git@0a1b'",
        ),
        (
            {**GIT, "url": "ssh://git@forge.example/bus.git"},
            "git+ssh://git@forge.example/bus.git@0a1b",
            "'polybus[aws] @ git+ssh://git@forge.example/bus.git@0a1b'",
        ),
        (
            {"url": "https://store.example/polybus.whl?X-Amz-Signature=secret#sha256=0", "archive_info": {}},
            "https://store.example/polybus.whl",
            "'polybus[aws] @ https://store.example/polybus.whl'",
        ),
        ({"url": "file:///src/a%20bus", "dir_info": {}}, "file:///src/a%20bus", "'/src/a bus[aws]'"),
        ({"url": "file:///src/bus", "dir_info": {"editable": True}}, "file:///src/bus", "-e '/src/bus[aws]'"),
    ],
    ids=["index", "git", "git-folder", "wheel", "git-password", "git-ssh", "signed", "folder", "editable"],
)
def test_an_extra_comes_from_where_polybus_came_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, noted: dict[str, Any] | None, address: str, told: str
) -> None:
    install(tmp_path, noted)
    monkeypatch.syspath_prepend(tmp_path)
    assert (origin(), requirement("aws")) == (address, told)
    assert str(MissingExtra("boto3", "aws")) == f"boto3 is not installed: pip install {told}"


def test_without_metadata_it_is_the_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    assert requirement() == "'polybus'"


def test_a_package_of_somebody_else_is_named_as_it_is() -> None:
    assert str(MissingExtra("acme-sdk", "", install="acme-sdk")) == "acme-sdk is not installed: pip install acme-sdk"
