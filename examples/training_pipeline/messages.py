"""What the services say to each other."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from polybus.blobs import Blob

DataSet = Literal["iris", "wine", "breast_cancer", "digits"]
Model = Literal["logistic", "forest", "neighbours", "tree"]
Event = Literal["model.trained", "training.failed"]


@dataclass(frozen=True)
class TrainingJob:
    """Train one model on one data set; `id` also names what comes of it."""

    id: str
    data_set: DataSet
    model: Model
    parameters: dict[str, int | float] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What became of a job.

    `seconds` is how long the training took. A trained model has its `accuracy` on data that it had not seen, and is
    itself the `artifact`, of any size; a failure has its `error`.
    """

    event: Event
    job: TrainingJob
    seconds: float
    accuracy: float | None = None
    artifact: Blob | None = None
    error: str | None = None

    @property
    def attributes(self) -> dict[str, str]:
        """What subscribers can filter by."""
        found = {"event": self.event, "data_set": self.job.data_set, "seconds": f"{self.seconds:.3f}"}
        if self.accuracy is not None:
            found["accuracy_band"] = "low" if self.accuracy < 0.7 else "fair" if self.accuracy < 0.9 else "high"
        return found
