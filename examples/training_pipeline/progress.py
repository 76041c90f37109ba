"""What the demo shows while it runs: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from rich.text import Text

from messages import Outcome

_COLOURS = {"trainer": "cyan", "registry": "green", "alerts": "red"}


class Progress:
    """Counts the jobs that are done, above what the services say."""

    def __init__(self, console: Console, jobs: int) -> None:
        self._console = console
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._bar = Bar(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._task = self._bar.add_task("training", total=jobs)

    def __enter__(self) -> Progress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.stop()

    def step(self, text: str) -> None:
        """Say what begins now."""
        self._console.print(f"\n{text}", style="bold", markup=False)

    def line(self, service: str, text: str) -> None:
        """Show a line that a service printed."""
        self._console.print(
            Text(f"  {service:<9} ", _COLOURS.get(service, "blue")).append(text, "default"), soft_wrap=True
        )

    def command(self, text: str) -> None:
        """Show a command that is run."""
        self._console.print(f"$ {text}", style="bold blue", markup=False, highlight=False, soft_wrap=True)

    def output(self, text: str) -> None:
        """Show what a command printed."""
        self._console.print(text.rstrip(), markup=False, highlight=False, soft_wrap=True)

    def done(self, outcome: Outcome) -> None:
        """Count a job of which an outcome came."""
        self._bar.update(self._task, advance=1, description=f"trained {outcome.job.id}")
