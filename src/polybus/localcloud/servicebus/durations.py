"""ISO 8601 durations, as the management API and Config.json write times."""

from __future__ import annotations

import re

from polybus.localcloud.servicebus.refusal import ARGUMENT_ERROR, Refusal

__all__ = ["FOREVER", "format_duration", "parse_duration"]

# .NET's TimeSpan.MaxValue in days: what the service shows for a time that never ends. Clients that round send a little
# less, so everything of its size means the same.
FOREVER = "P10675199DT2H48M5.4775807S"
_FOREVER_SECONDS = 10_675_199 * 86400.0
_PATTERN = re.compile(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?\Z")


def parse_duration(text: str) -> float | None:
    """Return seconds, None for ever; raise Refusal."""
    match = _PATTERN.match(text)
    if match is None or text in ("P", "PT"):
        raise Refusal(ARGUMENT_ERROR, f"'{text}' is no duration like P1DT2H3M4.5S.")
    days, hours, minutes, seconds = (float(part or 0) for part in match.groups())
    total = days * 86400 + hours * 3600 + minutes * 60 + seconds
    return None if total >= _FOREVER_SECONDS else total


def format_duration(seconds: float | None) -> str:
    if seconds is None:
        return FOREVER
    days, rest = divmod(seconds, 86400)
    hours, rest = divmod(rest, 3600)
    minutes, rest = divmod(rest, 60)
    date = f"{int(days)}D" if days else ""
    clock = "".join(f"{part:g}{unit}" for part, unit in ((hours, "H"), (minutes, "M"), (round(rest, 6), "S")) if part)
    if not date and not clock:
        return "PT0S"
    return f"P{date}" + (f"T{clock}" if clock else "")
