"""What the documents show of other frameworks, with the real ones: run by `make docs`, where they are installed."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import polybus

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT))

from tests.docs.snippets import ROOT as SAME  # noqa: E402
from tests.docs.snippets import blocks, write  # noqa: E402

PAGES = ("publishing.md", "from-celery.md", "from-faststream.md")


@pytest.fixture
def page(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Put a page's files into a folder, and import from it."""
    assert SAME == ROOT
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("POLYBUS_BINDING", "embedded")
    monkeypatch.syspath_prepend(str(tmp_path))
    names = []
    for block in blocks(ROOT / "docs" / request.param):
        write(block)
        if block.file.endswith(".py"):
            names.append(block.file.removesuffix(".py"))
    yield tmp_path
    for name in names:
        sys.modules.pop(name, None)


def waiting(target: str) -> int:
    with polybus.sync.connect() as bus:
        return bus.stats(target).waiting or 0


@pytest.mark.parametrize("page", ["publishing.md"], indirect=True)
def test_fastapi(page: Path) -> None:
    (page / "polybus.toml").write_text((page / "polybus.toml").read_text() + '[subscriptions.seen]\ntopic = "orders"\n')
    from fastapi.testclient import TestClient

    with TestClient(importlib.import_module("api").web) as client:
        answer = client.post("/orders", json={"id": 1, "customer": "ada"})
        assert (answer.status_code, client.get("/health").json()) == (202, {"status": "ok"})
    assert waiting("seen") == 1


@pytest.mark.parametrize("page", ["publishing.md"], indirect=True)
def test_django(page: Path) -> None:
    (page / "polybus.toml").write_text((page / "polybus.toml").read_text() + '[subscriptions.seen]\ntopic = "orders"\n')
    import django
    from django.conf import settings
    from django.test import RequestFactory

    database = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(page / "db.sqlite3")}
    settings.configure(DATABASES={"default": database}, ALLOWED_HOSTS=["*"])
    django.setup()
    request = RequestFactory().post("/", json.dumps({"id": 1, "customer": "ada"}), content_type="application/json")
    assert importlib.import_module("views").place(request).status_code == 202
    importlib.import_module("messages").bus().close()
    assert waiting("seen") == 1


@pytest.mark.parametrize("page", ["from-celery.md"], indirect=True)
def test_celery(page: Path) -> None:
    task: Any = importlib.import_module("tasks").send_mail
    assert task.apply(args=["a@example.com"]).successful()


@pytest.mark.parametrize("page", ["from-faststream.md"], indirect=True)
async def test_faststream(page: Path) -> None:
    from faststream.redis import TestRedisBroker

    module: Any = importlib.import_module("fs")
    async with TestRedisBroker(module.broker) as broker:
        await broker.publish({"customer": "ada"}, "orders")
        module.bill.mock.assert_called_once_with({"customer": "ada"})
