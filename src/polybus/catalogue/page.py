"""A topology as one HTML page, without scripts or anything from elsewhere: it can be mailed, and read in ten years."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from html import escape

from polybus.catalogue.entries import Entry, Reader, entries, services
from polybus.contracts.payload import Payload
from polybus.plan.diagram import svg
from polybus.topology.model import Service, Topology

__all__ = ["page"]

_STYLE = """
:root { color-scheme: light dark; --ink: #0f172a; --soft: #55637a; --line: #d9e0ea; --card: #ffffff; --page: #f6f8fb;
  --topic: #4f46e5; --queue: #b45309; --service: #0f766e; --code: #eef2f7; }
@media (prefers-color-scheme: dark) { :root { --ink: #f1f5f9; --soft: #a3b1c6; --line: #2a3650; --card: #131c31;
  --page: #0b1120; --topic: #a5b4fc; --queue: #fbbf24; --service: #5eead4; --code: #1e293b; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
main { max-width: 70rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1 { margin: 0 0 .25rem; font-size: 2rem; } h2 { margin: 3rem 0 1rem; font-size: 1.35rem; }
h3 { margin: 0; font-size: 1.15rem; } h4 { margin: 1.1rem 0 .4rem; font-size: .95rem; color: var(--soft); }
p { margin: .4rem 0; } .soft { color: var(--soft); }
nav { display: flex; flex-wrap: wrap; gap: .4rem 1rem; margin: 1.25rem 0 0; }
a { color: inherit; text-decoration-color: var(--soft); text-underline-offset: .2em; }
a:hover { text-decoration-thickness: 2px; }
section.card { background: var(--card); border: 1px solid var(--line); border-radius: .7rem; padding: 1.1rem 1.3rem;
  margin: 0 0 1rem; scroll-margin-top: 1rem; }
.kind { font-size: .78rem; font-weight: 600; margin-left: .5rem; padding: .1rem .5rem; border: 1px solid currentColor;
  border-radius: 1rem; vertical-align: .12em; }
.topic { color: var(--topic); } .queue { color: var(--queue); } .service { color: var(--service); }
.picture { overflow-x: auto; border: 1px solid var(--line); border-radius: .7rem; }
.picture svg { display: block; width: 100%; height: auto; min-width: 46rem; }
table { border-collapse: collapse; width: 100%; } .wide { overflow-x: auto; }
th, td { text-align: left; vertical-align: top; padding: .45rem .8rem .45rem 0; border-top: 1px solid var(--line); }
th { font-weight: 600; white-space: nowrap; } thead th { border: 0; color: var(--soft); font-size: .88rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; margin: .5rem 0 0; }
dt { color: var(--soft); } dd { margin: 0; }
code { font: .88em ui-monospace, monospace; background: var(--code); border-radius: .3rem; padding: .08rem .3rem;
  overflow-wrap: anywhere; }
pre { background: var(--code); border-radius: .5rem; padding: .8rem 1rem; overflow-x: auto; margin: .4rem 0 0; }
pre code { background: none; padding: 0; }
ul.plain { margin: 0; padding: 0; list-style: none; }
"""


def page(topology: Topology, *, payloads: Mapping[str, Payload] | None = None) -> str:
    """Return the page; the same topology gives the same text. `payloads` are the schemas of bodies, by entry."""
    found = entries(topology)
    title = f"Messages of {topology.name}"
    parts = [
        "<!doctype html>",
        '<html lang="en">',
        '<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>",
        "<body><main>",
        f"<h1>{escape(title)}</h1>",
        f'<p class="soft">{_counted(topology)}</p>',
        "<nav>" + "".join(_link(entry.name, entry.kind) for entry in found) + "</nav>",
        '<h2>Who sends what to whom</h2><div class="picture">' + svg(topology) + "</div>",
        *_part("Topics and queues", (_entry(entry, (payloads or {}).get(entry.name)) for entry in found)),
        *_part("Services", (_service(topology, each) for each in services(topology))),
        "</main></body></html>",
    ]
    return "\n".join(parts) + "\n"


def _counted(topology: Topology) -> str:
    kinds = {
        "topic": topology.topics,
        "subscription": topology.subscriptions,
        "queue": topology.queues,
        "service": topology.services,
    }
    return ", ".join(f"{len(of)} {kind}{'' if len(of) == 1 else 's'}" for kind, of in kinds.items())


def _part(heading: str, cards: Iterable[str]) -> Iterator[str]:
    made = list(cards)
    if made:
        yield f"<h2>{heading}</h2>"
        yield from made


def _entry(entry: Entry, payload: Payload | None) -> str:
    declared = entry.declared
    parts = [
        f'<section class="card" id="{escape(entry.name)}">',
        f'<h3>{escape(entry.name)}<span class="kind {entry.kind}">{entry.kind}</span></h3>',
        _said(declared.description, declared.owner),
        _facts(entry.facts),
        "<h4>Published by</h4>",
        _names(entry.publishers, "nobody of this bus"),
        "<h4>Read by</h4>",
        _readers(entry.readers),
    ]
    if payload is not None:
        form = f' <span class="soft">{escape(payload.content_type)}</span>' if payload.format else ""
        parts.append(f"<h4>What a message holds{form}</h4><pre><code>{escape(payload.text)}</code></pre>")
    return "\n".join(part for part in [*parts, "</section>"] if part)


def _readers(readers: tuple[Reader, ...]) -> str:
    if not readers:
        return '<p class="soft">nobody: there is no subscription</p>'
    rows = "".join(
        f"<tr><th>{escape(each.source)}{_said(each.declared.description, each.declared.owner)}</th>"
        f"<td>{_consumers(each)}</td>"
        f"<td>{f'<code>{escape(each.filter)}</code>' if each.filter else 'everything'}</td>"
        f"<td>{_lines(each.facts)}</td></tr>"
        for each in readers
    )
    heads = "".join(f"<th>{name}</th>" for name in ("from", "by", "which", "how"))
    return f'<div class="wide"><table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>'


def _consumers(reader: Reader) -> str:
    if reader.push:
        return f"pushed to <code>{escape(reader.push)}</code>"
    return _names(reader.services, "no service")


def _service(topology: Topology, service: Service) -> str:
    rows = [(right, getattr(service, right)) for right in ("publishes", "consumes", "operates")]
    listed = "".join(
        f"<dt>{right}</dt><dd>{', '.join(_place(topology, name) for name in names)}</dd>"
        for right, names in rows
        if names
    )
    return (
        f'<section class="card" id="service-{escape(service.name)}">'
        f'<h3>{escape(service.name)}<span class="kind service">service</span></h3>'
        f"{_said(service.description, service.owner)}<dl>{listed}</dl></section>"
    )


def _place(topology: Topology, name: str) -> str:
    """Link to where a name is described: a subscription is, with its topic."""
    subscription = topology.subscriptions.get(name)
    if subscription is None:
        return _link(name, "")
    return f'<a href="#{escape(subscription.topic)}">{escape(name)}</a> of {escape(subscription.topic)}'


def _said(description: str, owner: str) -> str:
    text = f"<p>{escape(description)}</p>" if description else ""
    return text + (f'<p class="soft">Owner: {escape(owner)}</p>' if owner else "")


def _facts(facts: tuple[tuple[str, str], ...]) -> str:
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(what)}</dd>" for name, what in facts)
    return f"<dl>{rows}</dl>" if rows else ""


def _lines(facts: tuple[tuple[str, str], ...]) -> str:
    rows = "".join(f'<li><span class="soft">{escape(name)}:</span> {escape(what)}</li>' for name, what in facts)
    return f'<ul class="plain">{rows}</ul>'


def _names(names: tuple[str, ...], none: str) -> str:
    if not names:
        return f'<span class="soft">{none}</span>'
    return ", ".join(f'<a href="#service-{escape(name)}">{escape(name)}</a>' for name in names)


def _link(name: str, kind: str) -> str:
    of = f' class="{kind}"' if kind else ""
    return f'<a{of} href="#{escape(name)}">{escape(name)}</a>'
