"""Submit a grid of training jobs: `python submit.py`.

Two of them are wrong, as in real life: one has a parameter that scikit-learn refuses, so that its training fails, and
one names a data set that isn't there, so that it can't be read as a job and ends among the dead letters.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import sqlite3
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

import polybus
import store
from messages import DataSet, TrainingJob
from polybus.outbox import Outbox

PARAMETERS: dict[str, dict[str, int | float]] = {
    "logistic": {"C": 1.0},
    "forest": {"n_estimators": 100},
    "neighbours": {"n_neighbors": 5},
    "tree": {"max_depth": 1},
}
POISON = "irsi-logistic"


def grid() -> list[TrainingJob]:
    """Return a job for every data set and model."""
    pairs = itertools.product(get_args(DataSet), PARAMETERS)
    return [TrainingJob(f"{data_set}-{model}", data_set, model, PARAMETERS[model]) for data_set, model in pairs]


def jobs() -> list[dict[str, Any]]:
    """Return what is submitted, the two wrong ones included."""
    refused = TrainingJob("iris-no-neighbours", "iris", "neighbours", {"n_neighbors": 0})
    right = [asdict(job) for job in [*grid(), refused]]
    return [*right, {**right[0], "id": POISON, "data_set": "irsi"}]


def note(database: sqlite3.Connection, outbox: Outbox) -> int:
    """Note all jobs as submitted, and have them published, or do neither."""
    with database:
        for job in jobs():
            database.execute("INSERT INTO submitted VALUES (?, ?)", (job["id"], json.dumps(job)))
            outbox.publish_sync(database, "training-jobs", job)
    return len(jobs())


async def main() -> None:
    """Note all, and return when every one is durably accepted."""
    outbox = Outbox(service="submitter")
    store.folder().mkdir(parents=True, exist_ok=True)
    path = store.folder() / "submitted.db"
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE IF NOT EXISTS submitted (id TEXT, job TEXT)")
        outbox.create_tables_sync(database)
        count = note(database, outbox)
    # A service would have a relay that goes on; killed here, what it left would be sent by the next.
    async with polybus.connect(service="submitter") as bus, outbox.relay(bus, f"sqlite:///{path}"):
        while _left(path):  # noqa: ASYNC110 - what a relay has sent is to be seen in the database alone
            await asyncio.sleep(0.05)
    print(f"submitted {count} jobs")


def _left(path: Path) -> int:
    with contextlib.closing(sqlite3.connect(path)) as database:
        [count] = database.execute("SELECT count(*) FROM polybus_outbox").fetchone()
    return int(count)


if __name__ == "__main__":
    asyncio.run(main())
