"""The identities of a cluster as pictures for other tools: Mermaid, Graphviz, and HTML without scripts."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

from cloudrun_identity.overview.identities import Actor, Node, Permit
from cloudrun_identity.overview.risk import MEANING, Risk, by_severity, most_severe

COLORS = {
    Risk.PUBLIC: "#c22727",
    Risk.OWNER: "#8a33b9",
    Risk.KEYS: "#925600",
    Risk.TOKENS: "#1d62c4",
    Risk.DEPLOY: "#43705c",
    Risk.NONE: "#8a93a3",
}
"""Color of each risk, as on the web page."""


@dataclass(frozen=True, slots=True)
class _Edge:
    """Uses or roles of one node on another."""

    source: str
    target: str
    labels: tuple[str, ...]
    risk: Risk


def as_mermaid(nodes: Sequence[Node]) -> str:
    """Return a Mermaid flowchart (https://mermaid.js.org/syntax/flowchart.html)."""
    names, edges = _graph(nodes)
    identities = {node.key for node in nodes}
    lines = ["flowchart LR"]
    for name, number in names.items():
        left, right = ("([", "])") if name in identities else ("[", "]")
        lines.append(f'  n{number}{left}"{_mermaid(name)}"{right}')
    for edge in edges:
        label = _mermaid(", ".join(edge.labels))
        lines.append(f'  n{names[edge.source]} -->|"{label}"| n{names[edge.target]}')
    by_risk = [(risk, [str(i) for i, edge in enumerate(edges) if edge.risk is risk]) for risk in Risk]
    lines += [
        f"  linkStyle {','.join(numbers)} stroke:{COLORS[risk]}" for risk, numbers in by_risk if numbers
    ]
    return "\n".join(lines)


def as_dot(nodes: Sequence[Node]) -> str:
    """Return a Graphviz graph (https://graphviz.org/doc/info/lang.html)."""
    names, edges = _graph(nodes)
    identities = {node.key for node in nodes}
    lines = ["digraph identities {", "  rankdir=LR;", '  node [shape=box, fontname="sans-serif"];']
    lines.append('  edge [fontname="sans-serif", fontsize=10];')
    for name, number in names.items():
        style = ", style=rounded, penwidth=2" if name in identities else ""
        lines.append(f"  n{number} [label={_quoted(name)}{style}];")
    for edge in edges:
        color = COLORS[edge.risk]
        label = _quoted("\n".join(edge.labels))
        lines.append(
            f'  n{names[edge.source]} -> n{names[edge.target]} [label={label}, color="{color}", '
            f'fontcolor="{color}"];'
        )
    return "\n".join([*lines, "}"])


def as_html(nodes: Sequence[Node]) -> str:
    """Return one HTML file without scripts and without links to other hosts."""
    namespaces = dict.fromkeys(node.namespace for node in nodes)
    sections = "".join(
        f"<section><h2>{escape(namespace)}</h2>"
        f"{''.join(_article(node) for node in nodes if node.namespace == namespace)}</section>"
        for namespace in namespaces
    )
    legend = "".join(
        f'<li><b class="{risk.lower()}">{risk}</b> {escape(MEANING[risk])}</li>'
        for risk in Risk
        if risk is not Risk.NONE
    )
    return _PAGE.replace("{legend}", legend).replace("{sections}", sections)


def _graph(nodes: Sequence[Node]) -> tuple[dict[str, int], list[_Edge]]:
    """Return the number of each node by its name, and the edges between them."""
    accounts = {f"ServiceAccount {node.email}": node.key for node in nodes if node.email}
    found: dict[tuple[str, str], _Edge] = {}
    names = dict.fromkeys(node.key for node in nodes)
    identities = set(names)

    def connect(source: str, target: str, label: str, risk: Risk) -> None:
        names.update(dict.fromkeys((source, target)))
        known = found.get((source, target), _Edge(source, target, (), Risk.NONE))
        labels = tuple(dict.fromkeys((*known.labels, label)))
        found[source, target] = _Edge(source, target, labels, most_severe((known.risk, risk)))

    for node in nodes:
        for actor in node.actors:
            name = actor.member.removeprefix("identity:")  # of an identity without an account
            source = actor.identity or (name if name in identities else actor.member)
            connect(source, node.key, _use(actor), actor.risk)
        for run in node.runs:
            risk = Risk.PUBLIC if run in node.public_runs else Risk.NONE
            connect(node.key, f"{run} ({node.project_id})", "runs", risk)
        for permit in node.permits:
            if permit.target not in accounts:  # or else the target shows the same grant as that of its user
                connect(node.key, permit.target, permit.role, permit.risk)
    return {name: number for number, name in enumerate(names)}, list(found.values())


def _use(actor: Actor) -> str:
    condition = f" if {actor.condition}" if actor.condition else ""
    return f"{actor.how}{condition}{'' if actor.state == 'Granted' else f' ({actor.state})'}"


def _mermaid(text: str) -> str:
    return "".join(each if each.isalnum() or each in " @.-_/:,()" else f"#{ord(each)};" for each in text)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _article(node: Node) -> str:
    grants: list[Actor | Permit] = [*node.actors, *node.permits]
    risks = by_severity(each.risk for each in grants)
    badges = "".join(f'<b class="{risk.lower()}">{risk}</b>' for risk in risks)
    reason = f" <em>{escape(node.reason)}</em>" if node.reason else ""
    body = (
        _list(
            "Runs as it",
            (_line(run, Risk.PUBLIC if run in node.public_runs else Risk.NONE) for run in node.runs),
        )
        + _list("May act as it", (_line(_actor(each), each.risk) for each in node.actors))
        + _list("It may", (_line(_permit(each), each.risk) for each in node.permits))
    )
    title = f"{escape(node.name)} <small>{escape(node.email or 'no account yet')}</small>{reason} {badges}"
    return f"<details><summary>{title}</summary>{body}</details>"


def _actor(actor: Actor) -> str:
    where = f" ({actor.role} on Project {actor.project})" if actor.project else ""
    return f"{actor.identity or actor.member} {_use(actor)}{where}"


def _permit(permit: Permit) -> str:
    condition = f" if {permit.condition}" if permit.condition else ""
    state = "" if permit.state == "Granted" else f" ({permit.state})"
    return f"{permit.role} on {permit.target}{condition}{state}"


def _line(text: str, risk: Risk) -> str:
    return f'<li class="{risk.lower()}">{escape(text)}</li>'


def _list(title: str, lines: Iterable[str]) -> str:
    items = "".join(lines)
    return f"<h3>{title}</h3><ul>{items}</ul>" if items else ""


def _rules() -> Iterator[str]:
    for risk, color in COLORS.items():
        yield f".{risk.lower()}{{--tone:{color}}}"


_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Cloud Run identities</title>
<style>
:root{color-scheme:light dark}
body{font:15px/1.5 system-ui,sans-serif;max-width:68rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem}h2{font-size:1.1rem;margin:2rem 0 .5rem}
h3{font-size:.85rem;margin:.75rem 0 .25rem;opacity:.75}
details{border:1px solid #8884;border-radius:8px;margin:.4rem 0;padding:.5rem .9rem}
summary{cursor:pointer;font-weight:600}
small{font-weight:400;opacity:.75}ul{list-style:none;margin:0;padding:0}
details li{border-left:3px solid var(--tone);margin:.2rem 0;padding-left:.6rem;overflow-wrap:anywhere}
b{background:var(--tone);border-radius:1rem;color:#fff;
font-size:.75rem;margin-right:.3rem;padding:.1rem .55rem}
em{color:light-dark(#bb2323,#ff8a84);font-style:normal}header li{margin:.2rem 0}
{rules}
</style>
<header><h1>Cloud Run identities</h1><ul>{legend}</ul></header>
{sections}
""".replace("{rules}", "".join(_rules()))
