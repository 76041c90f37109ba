"""Tell people what went wrong: failed trainings, and models that are of no use.

Run it with `polybus run alerts:app`. The filter of its subscription lets nothing else through.
"""

from __future__ import annotations

import polybus
from messages import Outcome

app = polybus.App(service="alerts")


@app.handler("alerts")
async def alert(outcome: Outcome) -> None:
    """Print it; in production, page somebody."""
    what = outcome.error or f"accuracy {outcome.accuracy:.3f} is too low"
    print(f"{outcome.job.id}: ALERT {what}", flush=True)
