"""The table that closes the demo."""

from __future__ import annotations

import pickle
from collections.abc import Mapping

from rich.table import Table

import polybus
import store
import submit
from messages import Outcome

WATCHED = ("training-jobs", "registry", "alerts")


def is_alarming(outcome: Outcome) -> bool:
    """What the filter of the subscription `alerts` lets through."""
    return outcome.event == "training.failed" or outcome.attributes.get("accuracy_band") == "low"


async def table(bus: polybus.Bus, outcomes: Mapping[str, Outcome]) -> Table:
    """Sum up what happened, from what the services left."""
    trained = [outcome for outcome in outcomes.values() if outcome.event == "model.trained"]
    found = Table(title="What happened", title_justify="left", show_header=False)
    found.add_row(
        "jobs", f"{len(submit.jobs())} submitted, {len(trained)} trained, {len(outcomes) - len(trained)} failed"
    )
    for outcome in sorted(trained, key=lambda outcome: outcome.job.data_set):
        best = store.best(outcome.job.data_set)
        if best is not None and best.job.id == outcome.job.id:
            found.add_row(
                "best model",
                f"{best.job.data_set}: {best.job.model}, accuracy {best.accuracy:.3f} ({await _check(best)})",
            )
    alarming = sorted(outcome.job.id for outcome in outcomes.values() if is_alarming(outcome))
    found.add_row("alerts", f"{len(alarming)}: {', '.join(alarming)}")
    stats = {name: await bus.stats(name) for name in WATCHED}
    found.add_row("dead letters", f"1 mended and put back, {sum(one.dead or 0 for one in stats.values())} left")
    return found


async def _check(best: Outcome) -> str:
    """Load the model as whoever uses it would."""
    assert best.artifact is not None
    model = pickle.loads(await store.blobs().bind(best.artifact).read())  # noqa: S301 - our own
    return f"a {type(model.steps[-1][1]).__name__} of {model.n_features_in_} features"
