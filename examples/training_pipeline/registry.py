"""Keep the best model of each data set.

Run it with `polybus run registry:app`. It may hear of a model twice, and of models in any order: what it keeps is the
same.
"""

from __future__ import annotations

import polybus
import store
from messages import Outcome

app = polybus.App(service="registry")


@app.handler("registry")
def keep(outcome: Outcome) -> None:
    """Blocks, so polybus calls it in a thread."""
    with store.alone():
        print(f"{outcome.job.id}: {_keep(outcome)}", flush=True)


def _keep(outcome: Outcome) -> str:
    if outcome.artifact is None:
        return "nothing to keep"
    best = store.best(outcome.job.data_set)
    if best is not None and best.artifact == outcome.artifact:
        return "known"
    if best is not None and _rank(best) >= _rank(outcome):
        store.drop_artifact(outcome.artifact)
        return f"not better than {best.job.id}"
    store.set_best(outcome)
    if best is not None and best.artifact is not None:
        store.drop_artifact(best.artifact)
    return f"best of {outcome.job.data_set}"


def _rank(outcome: Outcome) -> tuple[float, str]:
    return (outcome.accuracy or 0.0, outcome.job.id)  # the id decides between equals, so that order doesn't
