"""What tests of the outbox have in common: `places` beside them, and a topology."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import pytest

from databases import Postgresql

sys.path.insert(0, str(Path(__file__).parent))

from places import DIALECTS, Database, postgresql_database, sqlite_database

from polybus.topology.file import loads
from polybus.topology.model import Topology

_NAMES = itertools.count()


@pytest.fixture
def topology() -> Topology:
    """Return a topology that no other test uses: what is in memory is found by its name."""
    text = f"""
[bus]
name = "outbox-{next(_NAMES)}"

[topics.orders]
ordered = true

[subscriptions.billing]
topic = "orders"

[queues.mails]
max_delay = "1h"

[services.shop]
publishes = ["orders"]
consumes = ["billing"]
"""
    return loads(text, source="polybus.toml")


@pytest.fixture(params=DIALECTS)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    """Return a new database with an outbox, in each of those that there are."""
    if request.param == "sqlite":
        return sqlite_database(tmp_path)
    server: Postgresql = request.getfixturevalue("postgresql")
    return postgresql_database(server)
