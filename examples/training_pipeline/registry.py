"""Keep the best model of each data set.

Run it with `polybus run registry:app`. It hears of each model once, though it may be told twice, and of models in any
order: what it keeps is the same.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import polybus
import store
from messages import Outcome

app = polybus.App(service="registry", middleware=[store.blobs()])
claims = store.claims()


@app.lifespan
async def prepare(app: polybus.App) -> AsyncIterator[None]:
    await claims.create_tables()
    yield


@app.handler("registry", once=claims)
def keep(outcome: Outcome) -> None:
    """Blocks, so polybus calls it in a thread."""
    with store.alone():
        print(f"{outcome.job.id}: {_keep(outcome)}", flush=True)


def _keep(outcome: Outcome) -> str:
    if outcome.artifact is None:
        return "nothing to keep"
    best = store.best(outcome.job.data_set)
    if best is not None and _rank(best) >= _rank(outcome):
        return f"not better than {best.job.id}"
    store.set_best(outcome)
    return f"best of {outcome.job.data_set}"


def _rank(outcome: Outcome) -> tuple[float, str]:
    return (outcome.accuracy or 0.0, outcome.job.id)  # the id decides between equals, so that order doesn't
