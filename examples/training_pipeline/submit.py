"""Submit a grid of training jobs: `python submit.py`.

Two of them are wrong, as in real life: one has a parameter that scikit-learn refuses, so that its training fails, and
one names a data set that isn't there, so that it can't be read as a job and ends among the dead letters.
"""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import asdict
from typing import Any, get_args

import polybus
from messages import DataSet, TrainingJob

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


async def main() -> None:
    """Publish all, and return when every one is durably accepted."""
    async with polybus.connect(service="submitter") as bus:
        ids = await bus.publish_many("training-jobs", jobs())
    print(f"submitted {len(ids)} jobs")


if __name__ == "__main__":
    asyncio.run(main())
