"""A picture of a run: how much went through, each process's life, what was done to whom, and what went wrong when."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from polybus.testing.torture.story import Life
from polybus.testing.torture.verdict import Verdict

__all__ = ["timeline"]

_WIDTH, _LEFT, _RIGHT = 1400, 130, 20
_CHART, _LANE, _TOP = 110, 22, 40
_BINS = 240
_COLOURS = {
    "life": "#b9d3ea",
    "stopped": "#6b7785",
    "kill": "#b00020",
    "term": "#c77700",
    "sent": "#1f6fb2",
    "handled": "#2e8b57",
    "fault": "#8a63b5",
    "bad": "#d00000",
}
_LEGEND = (
    f'<tspan fill="{_COLOURS["stopped"]}">dark: stood still</tspan>, '
    f'<tspan fill="{_COLOURS["kill"]}">killed</tspan>, <tspan fill="{_COLOURS["term"]}">told to end</tspan>'
)


def timeline(verdict: Verdict) -> str:
    """Return the run as an SVG document; hovering over a mark says what it is."""
    return _Picture(verdict).draw()


class _Picture:
    def __init__(self, verdict: Verdict) -> None:
        self._verdict = verdict
        self._told = verdict.told
        self._begins = self._told.begins
        self._span = max(self._told.ends - self._begins, 1.0)
        self._lanes: dict[str, int] = {}

    def draw(self) -> str:
        for who in sorted(self._told.lives, key=_place_and_life):
            self._lanes.setdefault(who.split(".")[0], len(self._lanes))
        parts = [*self._chart(), *self._lives(), *self._faults(), *self._bad(), *self._axis()]
        title = f"{self._verdict.site}, seed {self._verdict.seed}: {'held' if self._verdict.holds else 'FAILED'}"
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {self._height}" '
            f'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/>'
            f'<text x="{_LEFT}" y="22" font-size="15">{escape(title)}</text>'
            f'<text x="{_WIDTH - _RIGHT}" y="22" text-anchor="end">{_LEGEND}</text>{"".join(parts)}</svg>\n'
        )

    @property
    def _height(self) -> int:
        return self._lane_y("end") + 50

    def _lane_y(self, lane: str) -> int:
        order = {**self._lanes, "faults": len(self._lanes), "wrong": len(self._lanes) + 1, "end": len(self._lanes) + 2}
        return _TOP + _CHART + 20 + order[lane] * _LANE

    def _x(self, at: float) -> float:
        part = min(max((at - self._begins) / self._span, 0.0), 1.0)
        return round(_LEFT + part * (_WIDTH - _LEFT - _RIGHT), 1)

    # Rates -----------------------------------------------------------------------------------------------------------

    def _chart(self) -> Iterator[str]:
        sent = self._bins(self._told.calls[uid].at for uid in self._told.sent)
        handled = self._bins(start.at for story in self._told.stories.values() for start in story.starts)
        top = max(*sent, *handled, 1)
        for name, counts in (("sent", sent), ("handled", handled)):
            points = " ".join(
                f"{_LEFT + (number + 0.5) * (_WIDTH - _LEFT - _RIGHT) / _BINS:.1f},"
                f"{_TOP + _CHART - count / top * _CHART:.1f}"
                for number, count in enumerate(counts)
            )
            yield f'<polyline points="{points}" fill="none" stroke="{_COLOURS[name]}" stroke-width="1.5"/>'
        seconds = self._span / _BINS
        yield f'<text x="8" y="{_TOP + 12}">{top / seconds:.0f}/s</text>'
        yield f'<text x="8" y="{_TOP + 40}" fill="{_COLOURS["sent"]}">accepted</text>'
        yield f'<text x="8" y="{_TOP + 56}" fill="{_COLOURS["handled"]}">begun</text>'

    def _bins(self, times: Iterator[float]) -> list[int]:
        counts = [0] * _BINS
        for at in times:
            part = (at - self._begins) / self._span
            counts[min(max(int(part * _BINS), 0), _BINS - 1)] += 1
        return counts

    # Lanes -----------------------------------------------------------------------------------------------------------

    def _lives(self) -> Iterator[str]:
        for lane in self._lanes:
            yield f'<text x="8" y="{self._lane_y(lane) + 13}">{escape(_lane_name(lane))}</text>'
        for life in self._told.lives.values():
            y = self._lane_y(life.who.split(".")[0])
            end = life.gone if life.gone is not None else self._told.ends
            yield self._bar(life.born, end, y, _COLOURS["life"], f"{life.who}, ended with {life.code}")
            for begin, over in life.stops:
                yield self._bar(begin, over, y, _COLOURS["stopped"], f"{life.who} stopped for {over - begin:.1f} s")
            yield from self._ends(life, y)

    def _ends(self, life: Life, y: int) -> Iterator[str]:
        if life.killed and life.gone is not None:
            yield self._mark(life.gone, y, _COLOURS["kill"], f"{life.who} killed")
        elif life.term is not None:
            yield self._mark(life.term, y, _COLOURS["term"], f"{life.who} told to end")

    def _faults(self) -> Iterator[str]:
        y = self._lane_y("faults")
        yield f'<text x="8" y="{y + 13}">faults</text>'
        for begun, over, _, text in self._told.acts:
            yield self._bar(begun, over, y, _COLOURS["fault"], text, opacity=0.5)

    def _bad(self) -> Iterator[str]:
        y = self._lane_y("wrong")
        yield f'<text x="8" y="{y + 13}">wrong</text>'
        for row in self._verdict.rows:
            for at, text in row.marks:
                yield self._mark(at, y, _COLOURS["bad"], f"{row.name}: {text}")

    def _bar(self, begin: float, end: float, y: int, colour: str, text: str, *, opacity: float = 1.0) -> str:
        x = self._x(begin)
        width = max(self._x(end) - x, 1.0)
        return (
            f'<rect x="{x}" y="{y + 3}" width="{width:.1f}" height="{_LANE - 6}" fill="{colour}" '
            f'opacity="{opacity}"><title>{escape(text)}</title></rect>'
        )

    def _mark(self, at: float, y: int, colour: str, text: str) -> str:
        x = self._x(at)
        return (
            f'<path d="M{x - 4} {y + 5}L{x + 4} {y + 15}M{x + 4} {y + 5}L{x - 4} {y + 15}" stroke="{colour}" '
            f'stroke-width="2"><title>{escape(text)}</title></path>'
        )

    def _axis(self) -> Iterator[str]:
        y = self._lane_y("end") + 18
        step = next(step for step in (10, 30, 60, 120, 300, 600, 3_600) if self._span / step <= 15 or step == 3_600)
        for second in range(0, int(self._span) + 1, step):
            x = self._x(self._begins + second)
            yield f'<path d="M{x} {_TOP}V{y - 12}" stroke="#e3e3e3"/>'
            yield f'<text x="{x}" y="{y}" text-anchor="middle">{second} s</text>'


def _place_and_life(who: str) -> tuple[bool, str, int]:
    place, _, life = who.partition(".")
    return place.startswith("c"), place, int(life)


def _lane_name(lane: str) -> str:
    return f"{'publisher' if lane.startswith('p') else 'consumer'} {lane[1:]}"
