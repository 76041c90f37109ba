"""Where the nodes of a diagram stand: four columns, each node level with what it is joined to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from polybus.plan.graph import Column, Edge, Graph, Look, Node

__all__ = ["Box", "Layout", "lay_out", "text_width"]

NODE_HEIGHT = 46.0
LETTERS_HEIGHT = 20.0
GAP = 22.0
MARGIN = 28.0
HEADING = 44.0
COLUMN_GAP = 76.0
BEND = 64.0  # width in which an edge from a topic rises or falls to its subscription
BOLD = 1.14  # how much wider bold text is
LONGEST_LABEL = 44  # characters of a filter that an edge shows
LABEL_ROOM = 6.7  # width in pixels of one character of an edge's label, 11 px


@dataclass(frozen=True, slots=True)
class Box:
    """A node with its place; `height` is with its dead letters, `middle` where edges meet it."""

    node: Node
    x: float
    y: float
    width: float

    @property
    def height(self) -> float:
        return NODE_HEIGHT + (LETTERS_HEIGHT if self.node.dead_letters else 0.0)

    @property
    def middle(self) -> float:
        return self.y + NODE_HEIGHT / 2


@dataclass(frozen=True, slots=True)
class Layout:
    """`lane` is the x at which an edge that passes the column of topics has to be level with its target."""

    boxes: dict[str, Box]
    width: float
    height: float
    lane: float


def text_width(text: str, size: float) -> float:
    """Guess the width in pixels of a text in a sans-serif face of `size` pixels: 0.56 em a character on average."""
    return len(text) * size * 0.56


def lay_out(graph: Graph) -> Layout:
    """Place every node; sources stand in the order of their topics, the rest level with their neighbours."""
    columns = {column: [node for node in graph.nodes if node.column is column] for column in Column}
    lefts, widths, right = _across(graph, columns)
    tops: dict[str, float] = {}
    _stack(_sources_in_order(graph, columns[Column.SOURCES]), tops)
    for column in (Column.TOPICS, Column.CONSUMERS, Column.PUBLISHERS):
        _level(columns[column], graph.edges, tops)
    lowest = min(tops.values(), default=0.0)
    boxes = {
        node.key: Box(node, lefts[node.column], tops[node.key] - lowest + MARGIN + HEADING, widths[node.column])
        for node in graph.nodes
    }
    bottom = max((box.y + box.height for box in boxes.values()), default=MARGIN + HEADING)
    return Layout(boxes, right + MARGIN, bottom + MARGIN, lefts[Column.TOPICS] - COLUMN_GAP / 4)


def _across(graph: Graph, columns: dict[Column, list[Node]]) -> tuple[dict[Column, float], dict[Column, float], float]:
    """Give the left edge and width of every column, and where the last one ends."""
    longest = max((min(len(edge.label), LONGEST_LABEL) for edge in graph.edges), default=0)
    lefts: dict[Column, float] = {}
    widths: dict[Column, float] = {}
    x = MARGIN
    for column, nodes in columns.items():
        widths[column] = max((_node_width(node) for node in nodes), default=0.0)
        lefts[column] = x
        after = max(COLUMN_GAP, longest * LABEL_ROOM + BEND + 52) if column is Column.TOPICS else COLUMN_GAP
        x += widths[column] + (after if nodes else 0.0)
    last = next((column for column in reversed(Column) if columns[column]), Column.PUBLISHERS)
    return lefts, widths, lefts[last] + widths[last]


def _node_width(node: Node) -> float:
    lines = (
        text_width(node.title, 14.5) * BOLD,
        text_width(node.details, 11.5),
        text_width(node.dead_letters, 10.5) + 8,
    )
    return max(110.0, max(lines) + 30)


def _sources_in_order(graph: Graph, sources: Sequence[Node]) -> list[Node]:
    """Put subscriptions of one topic together, in the order of the topics; queues come after."""
    topics = [node.key for node in graph.nodes if node.look is Look.TOPIC]
    of = {edge.target: topics.index(edge.source) for edge in graph.edges if edge.source in topics}
    return sorted(sources, key=lambda node: of.get(node.key, len(topics)))


def _height(node: Node) -> float:
    return NODE_HEIGHT + (LETTERS_HEIGHT if node.dead_letters else 0.0)


def _stack(nodes: Sequence[Node], tops: dict[str, float]) -> None:
    y = 0.0
    for node in nodes:
        tops[node.key] = y
        y += _height(node) + GAP


def _level(nodes: Sequence[Node], edges: Sequence[Edge], tops: dict[str, float]) -> None:
    """Place a column's nodes level with their placed neighbours, none on another, the whole centred on its wish."""
    wished = {node.key: _wish(node, edges, tops) for node in nodes}
    ordered = sorted(nodes, key=_by(wished))
    below = 0.0
    for at, node in enumerate(ordered):
        top = wished[node.key] if at == 0 else max(wished[node.key], below)
        tops[node.key] = top
        below = top + _height(node) + GAP
    if ordered:
        shift = sum(tops[node.key] - wished[node.key] for node in ordered) / len(ordered)
        for node in ordered:
            tops[node.key] -= shift


def _by(wished: dict[str, float]) -> Callable[[Node], float]:
    return lambda node: wished[node.key]


def _wish(node: Node, edges: Sequence[Edge], tops: dict[str, float]) -> float:
    near = [edge.target for edge in edges if edge.source == node.key]
    near += [edge.source for edge in edges if edge.target == node.key]
    placed = [tops[key] for key in near if key in tops]
    return sum(placed) / len(placed) if placed else max(tops.values(), default=-NODE_HEIGHT - GAP) + NODE_HEIGHT + GAP
