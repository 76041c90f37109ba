"""Train a model for each job, and tell what came of it.

Run it with `polybus run trainer:app`; run several, and they share the queue.
"""

from __future__ import annotations

import asyncio
import pickle
import time
from dataclasses import replace
from typing import Any

from sklearn import datasets
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

import polybus
import store
from messages import Outcome, TrainingJob
from polybus.flow import RateLimit

SEED = 7  # a job that is delivered twice is trained twice, to the same model

DATA_SETS = {
    "iris": datasets.load_iris,
    "wine": datasets.load_wine,
    "breast_cancer": datasets.load_breast_cancer,
    "digits": datasets.load_digits,
}
MODELS = {
    "logistic": lambda **parameters: LogisticRegression(max_iter=2000, **parameters),
    "forest": lambda **parameters: RandomForestClassifier(random_state=SEED, **parameters),
    "neighbours": KNeighborsClassifier,
    "tree": lambda **parameters: DecisionTreeClassifier(random_state=SEED, **parameters),
}

app = polybus.App(service="trainer", middleware=[store.blobs()])


# What trains is shared with others: no more jobs than so many are begun in a second, however many wait.
@app.handler("training-jobs", concurrency=2, rate_limit=RateLimit(per_second=20, burst=4))
async def train(job: TrainingJob) -> None:
    """Return to acknowledge; raise to have the job again. What can't be read as a job is dead-lettered at once."""
    outcome, model = await asyncio.to_thread(_train, job)
    if model is not None:
        outcome = replace(outcome, artifact=await store.blobs().put(model))
    await app.bus.publish("models", outcome, attributes=outcome.attributes)
    print(f"{job.id}: {outcome.error or f'accuracy {outcome.accuracy:.3f}'} in {outcome.seconds:.2f} s", flush=True)


def _train(job: TrainingJob) -> tuple[Outcome, bytes | None]:
    """Return what became of a job, and the model, where there is one."""
    started = time.perf_counter()
    features, labels = DATA_SETS[job.data_set](return_X_y=True)
    split: Any = train_test_split(features, labels, test_size=0.3, random_state=SEED, stratify=labels)
    known, unseen, known_labels, unseen_labels = split
    try:
        model = make_pipeline(StandardScaler(), MODELS[job.model](**job.parameters))
        model.fit(known, known_labels)
    except (ValueError, TypeError) as error:  # parameters that no retry makes good
        reason = str(error).splitlines()[0]
        return Outcome("training.failed", job, time.perf_counter() - started, error=reason), None
    seconds = time.perf_counter() - started
    accuracy = float(model.score(unseen, unseen_labels))
    return Outcome("model.trained", job, seconds, accuracy), pickle.dumps(model)
