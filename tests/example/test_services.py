"""The example's services one by one, in memory: what a service developer's own tests look like."""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "training_pipeline"
MODULES = ("messages", "store", "registry", "submit")


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, ModuleType]]:
    """The example's modules, imported as they are when it runs, and forgotten afterwards."""
    monkeypatch.syspath_prepend(str(EXAMPLE))
    monkeypatch.setenv("TRAINING_STORE", str(tmp_path / "store"))
    yield {name: __import__(name) for name in MODULES}
    for name in MODULES:
        sys.modules.pop(name, None)


def outcomes(example: dict[str, ModuleType], accuracies: dict[str, float]) -> list:
    messages, store = example["messages"], example["store"]
    return [
        messages.Outcome(
            "model.trained",
            messages.TrainingJob(job, "iris", "tree"),
            0.1,
            accuracy,
            asyncio.run(store.blobs().put(job.encode())),
        )
        for job, accuracy in accuracies.items()
    ]


def test_the_registry_keeps_the_same_whatever_the_order_and_however_often(example, tmp_path: Path) -> None:
    keep, store = example["registry"].keep, example["store"]
    for order in itertools.permutations(range(3)):
        made = outcomes(example, {"a": 0.8, "b": 0.9, "c": 0.9})
        for index in (*order, *order):
            keep(made[index])
        assert store.best("iris").job.id == "c"
        assert asyncio.run(store.blobs().bind(store.best("iris").artifact).read()) == b"c"
        (tmp_path / "store" / "best" / "iris.json").unlink()


def test_a_failed_training_leaves_nothing(example) -> None:
    messages = example["messages"]
    job = messages.TrainingJob("x", "iris", "tree")
    example["registry"].keep(messages.Outcome("training.failed", job, 0.1, error="no"))
    assert example["store"].best("iris") is None


@pytest.mark.parametrize(
    ("accuracy", "band"), [(None, None), (0.69, "low"), (0.7, "fair"), (0.89, "fair"), (0.9, "high")]
)
def test_the_band_is_what_the_alerts_filter_reads(example, accuracy: float | None, band: str | None) -> None:
    messages = example["messages"]
    outcome = messages.Outcome("model.trained", messages.TrainingJob("x", "iris", "tree"), 0.1, accuracy)
    assert outcome.attributes.get("accuracy_band") == band


def test_one_submitted_job_can_not_be_read(example) -> None:
    import msgspec

    submit, messages = example["submit"], example["messages"]
    refused = []
    for job in submit.jobs():
        try:
            msgspec.convert(job, messages.TrainingJob)
        except msgspec.ValidationError:
            refused.append(job["id"])
    assert refused == [submit.POISON]
