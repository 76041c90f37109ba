"""A topology as a picture: Mermaid text for documents, SVG for anywhere else. Pure functions of the topology."""

from __future__ import annotations

from polybus.plan.graph import Graph, Look, Node, graph_of
from polybus.plan.svg import draw
from polybus.topology.model import Topology

__all__ = ["mermaid", "svg"]

_SHAPES = {
    Look.SERVICE: ('(["', '"])'),
    Look.TOPIC: ('{{"', '"}}'),
    Look.SUBSCRIPTION: ('["', '"]'),
    Look.QUEUE: ('[["', '"]]'),
    Look.PUSH: ('>"', '"]'),
}
_LETTERS = "letters"
_STYLES = {
    Look.SERVICE.value: "fill:#f1f5f9,stroke:#64748b,color:#0f172a",
    Look.TOPIC.value: "fill:#e0e7ff,stroke:#4f46e5,color:#1e1b4b",
    Look.SUBSCRIPTION.value: "fill:#ccfbf1,stroke:#0d9488,color:#042f2e",
    Look.QUEUE.value: "fill:#fef3c7,stroke:#d97706,color:#451a03",
    Look.PUSH.value: "fill:#f3e8ff,stroke:#9333ea,color:#3b0764",
    _LETTERS: "fill:#fee2e2,stroke:#dc2626,color:#450a0a,stroke-dasharray:4",
}


def svg(topology: Topology) -> str:
    """Draw a topology as a standalone SVG document, for light and dark pages."""
    return draw(graph_of(topology))


def mermaid(topology: Topology) -> str:
    """Write a topology as a Mermaid flowchart; a service is one node, whether it publishes, consumes or both."""
    graph = graph_of(topology)
    ids = _ids(graph)
    lines = ["flowchart LR"]
    for node in _once(graph, ids):
        opening, closing = _SHAPES[node.look]
        details = "" if node.look is Look.SERVICE else f"<br/><small>{_safe(node.details)}</small>"
        lines.append(f"    {ids[node.key]}{opening}{_safe(node.title)}{details}{closing}:::{node.look}")
        if node.dead_letters:
            lines.append(f'    {ids[node.key]}d[/"{_safe(node.dead_letters)}"/]:::{_LETTERS}')
    for edge in graph.edges:
        label = f'|"{_safe(edge.label)}"|' if edge.label else ""
        lines.append(f"    {ids[edge.source]} -->{label} {ids[edge.target]}")
    lines += [f"    {ids[node.key]} -.-> {ids[node.key]}d" for node in graph.nodes if node.dead_letters]
    lines += [f"    classDef {name} {style}" for name, style in _STYLES.items()]
    return "\n".join(lines) + "\n"


def _ids(graph: Graph) -> dict[str, str]:
    """Give every node a short id; both nodes of one service the same."""
    ids: dict[str, str] = {}
    services: dict[str, str] = {}
    for at, node in enumerate(graph.nodes):
        ids[node.key] = services.setdefault(node.title, f"n{at}") if node.look is Look.SERVICE else f"n{at}"
    return ids


def _once(graph: Graph, ids: dict[str, str]) -> list[Node]:
    first: dict[str, Node] = {}
    for node in graph.nodes:
        first.setdefault(ids[node.key], node)
    return list(first.values())


def _safe(text: str) -> str:
    """Escape what Mermaid would read as its own: it takes HTML entities, written with # for &."""
    for character, entity in (("#", "#35;"), ("&", "#amp;"), ('"', "#quot;"), ("<", "#lt;"), (">", "#gt;")):
        text = text.replace(character, entity)
    return text
