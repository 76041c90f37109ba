"""A diagram as SVG, drawn without any library: boxes, curves and text, for light and dark pages."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import TypeAlias

from polybus.plan.graph import Column, Edge, Graph
from polybus.plan.layout import (
    BEND,
    LETTERS_HEIGHT,
    LONGEST_LABEL,
    MARGIN,
    NODE_HEIGHT,
    Box,
    Layout,
    lay_out,
    text_width,
)

__all__ = ["draw"]

_Palette: TypeAlias = Mapping[str, str | tuple[str, str]]

_LIGHT: _Palette = {
    "page": "#ffffff",
    "ink": "#0f172a",
    "soft": "#64748b",
    "edge": "#94a3b8",
    "service": ("#f1f5f9", "#64748b"),
    "topic": ("#e0e7ff", "#4f46e5"),
    "subscription": ("#d5f5ee", "#0d9488"),
    "queue": ("#fef3c7", "#d97706"),
    "push": ("#f3e8ff", "#9333ea"),
    "letters": ("#fef2f2", "#dc2626"),
}
_DARK: _Palette = {
    "page": "#0b1120",
    "ink": "#f1f5f9",
    "soft": "#94a3b8",
    "edge": "#64748b",
    "service": ("#1e293b", "#94a3b8"),
    "topic": ("#1e1b4b", "#818cf8"),
    "subscription": ("#0c3230", "#2dd4bf"),
    "queue": ("#3a2a0a", "#fbbf24"),
    "push": ("#2e1650", "#c084fc"),
    "letters": ("#3b1212", "#f87171"),
}
_HEADINGS = {
    Column.PUBLISHERS: "publish",
    Column.TOPICS: "topics",
    Column.SOURCES: "subscriptions and queues",
    Column.CONSUMERS: "consume",
}


def draw(graph: Graph) -> str:
    """Draw a graph; the same graph gives the same text."""
    layout = lay_out(graph)
    width, height = round(layout.width), round(layout.height)
    title = f"Topology of {graph.name}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'role="img" aria-label="{escape(title)}">',
        f"<title>{escape(title)}</title>",
        f"<style>{_style()}</style>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0,0.5 L7.5,4 L0,7.5 z" class="tip"/></marker></defs>',
        f'<rect class="page" width="{width}" height="{height}" rx="10"/>',
        *_headings(layout),
        *(_curve(edge, layout) for edge in graph.edges),
        *(_label(edge, layout) for edge in graph.edges if edge.label),
        *(_box(box) for box in layout.boxes.values()),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _style() -> str:
    base = (
        "text{font-family:ui-sans-serif,system-ui,'Segoe UI','Helvetica Neue',Arial,sans-serif}"
        ".title{font-size:14.5px;font-weight:600}.details{font-size:11.5px}.small{font-size:10.5px}"
        ".label{font-size:11px;font-family:ui-monospace,'SFMono-Regular',Menlo,Consolas,'DejaVu Sans Mono',monospace}"
        ".head{font-size:10.5px;letter-spacing:.09em;text-transform:uppercase}"
        ".edge{fill:none;stroke-width:1.5}.box{stroke-width:1.4}.tag{stroke-width:1;stroke-dasharray:3 2.5}"
    )
    return f"{base}{_colours(_LIGHT)}@media(prefers-color-scheme:dark){{{_colours(_DARK)}}}"


def _colours(palette: _Palette) -> str:
    rules = [
        f".page{{fill:{palette['page']}}}.title{{fill:{palette['ink']}}}",
        f".details,.head,.label{{fill:{palette['soft']}}}.behind{{fill:{palette['page']}}}",
        f".edge{{stroke:{palette['edge']}}}.tip{{fill:{palette['edge']}}}",
    ]
    for name, pair in palette.items():
        if isinstance(pair, tuple):
            rules.append(f".{name}{{fill:{pair[0]};stroke:{pair[1]}}}.on-{name}{{fill:{pair[1]}}}")
    return "".join(rules)


def _headings(layout: Layout) -> list[str]:
    lefts = {box.node.column: box for box in reversed(layout.boxes.values())}
    return [
        f'<text class="head" x="{box.x + box.width / 2:.1f}" y="{MARGIN + 10:.1f}" text-anchor="middle">'
        f"{_HEADINGS[column]}</text>"
        for column, box in lefts.items()
    ]


def _box(box: Box) -> str:
    node, radius = box.node, 23 if box.node.look == "service" else 9
    middle = box.x + box.width / 2
    parts = [f"<g><title>{escape(f'{node.title}: {node.details}')}</title>"]
    if node.dead_letters:
        tag = text_width(node.dead_letters, 10.5) + 18
        top = box.y + NODE_HEIGHT - 6
        parts += [
            f'<rect class="letters tag" x="{middle - tag / 2:.1f}" y="{top:.1f}" width="{tag:.1f}" '
            f'height="{LETTERS_HEIGHT + 5:.1f}" rx="7"/>',
            f'<text class="small on-letters" x="{middle:.1f}" y="{top + LETTERS_HEIGHT:.1f}" text-anchor="middle">'
            f"{escape(node.dead_letters)}</text>",
        ]
    parts += [
        f'<rect class="box {node.look}" x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" '
        f'height="{NODE_HEIGHT:.1f}" rx="{radius}"/>',
        f'<text class="title" x="{middle:.1f}" y="{box.y + 20:.1f}" text-anchor="middle">{escape(node.title)}</text>',
        f'<text class="details" x="{middle:.1f}" y="{box.y + 36:.1f}" text-anchor="middle">'
        f"{escape(node.details)}</text>",
        "</g>",
    ]
    return "".join(parts)


def _ends(edge: Edge, layout: Layout) -> tuple[float, float, float, float]:
    source, target = layout.boxes[edge.source], layout.boxes[edge.target]
    return source.x + source.width, source.middle, target.x - 2, target.middle


def _turn(edge: Edge, layout: Layout) -> float:
    """Give the x from which an edge is level with its target: past the topics, and where a filter is written."""
    x1, _, x2, _ = _ends(edge, layout)
    if layout.boxes[edge.target].node.column is not Column.SOURCES:
        return x2
    return layout.lane if x1 < layout.lane else min(x1 + BEND, x2)


def _curve(edge: Edge, layout: Layout) -> str:
    x1, y1, x2, y2 = _ends(edge, layout)
    turn = _turn(edge, layout)
    bend = (turn - x1) / 2
    path = f"M{x1:.1f},{y1:.1f} C{x1 + bend:.1f},{y1:.1f} {turn - bend:.1f},{y2:.1f} {turn:.1f},{y2:.1f}"
    level = f" L{x2:.1f},{y2:.1f}" if turn != x2 else ""
    return f'<path class="edge" marker-end="url(#tip)" d="{path}{level}"/>'


def _label(edge: Edge, layout: Layout) -> str:
    """Write a filter on the level part of its edge, on a patch of the page, whole in the tooltip."""
    _, _, x2, y = _ends(edge, layout)
    x = (_turn(edge, layout) + x2 - 8) / 2
    shown = edge.label if len(edge.label) <= LONGEST_LABEL else f"{edge.label[: LONGEST_LABEL - 1]}…"
    width = text_width(shown, 11) * 1.09 + 10
    return (
        f'<g><title>{escape(edge.label)}</title><rect class="behind" x="{x - width / 2:.1f}" y="{y - 9:.1f}" '
        f'width="{width:.1f}" height="18" rx="4"/><text class="label" x="{x:.1f}" y="{y + 4:.1f}" '
        f'text-anchor="middle">{escape(shown)}</text></g>'
    )
