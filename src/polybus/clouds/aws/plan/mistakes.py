"""What AWS would refuse of a stack's settings by its form alone, in the middle of an update."""

from __future__ import annotations

import re
from collections.abc import Iterator

from polybus.clouds.aws.plan.composite import BY
from polybus.clouds.aws.plan.push import FUNCTION, is_function
from polybus.clouds.aws.plan.settings import AwsSettings
from polybus.plan.settings import Mistake

__all__ = ["mistakes"]

# A name or an ARN, of whatever it is; not what is shown where only a stack's configuration knows the function.
_NAMED = re.compile(r"[\w:/-]+", re.ASCII)


def mistakes(settings: AwsSettings) -> Iterator[Mistake]:
    """Give everything that is wrong by itself, whatever the topology is."""
    if settings.composite_alarms not in (None, *BY):
        yield Mistake("compositeAlarms", settings.composite_alarms, ", ".join(BY))
    percent = settings.delivery_logs
    if percent is not None and not 0 <= percent <= 100:
        yield Mistake("deliveryLogs", percent, "0 to 100: the percentage of deliveries to log, beside all that fail")
    for name, function in settings.functions.items():
        if isinstance(function, str) and _NAMED.fullmatch(function) and not is_function(function):
            yield Mistake(f"functions.{name}", function, f"a function's ARN, {FUNCTION}")
