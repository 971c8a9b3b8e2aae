"""The state of all objects of a cluster, as a person on duty needs it: as text and as data."""

from collections import Counter
from collections.abc import Iterator
from itertools import groupby
from typing import Any

import click

from cloudrun_identity.overview.cluster_status import ClusterStatus, State, age

MAX_MESSAGE = 240
"""Maximum number of characters of a message in the text. The next command shows the rest."""

HEADINGS = {
    State.NEEDS_ATTENTION: "Needs attention",
    State.OBSERVED: "Differences that are only observed",
    State.WAITING: "Waits",
    State.SUSPENDED: "Suspended",
    State.READY: "Ready",
}
_COLORS = {State.NEEDS_ATTENTION: "red", State.OBSERVED: "yellow", State.WAITING: "cyan"}


def as_text(status: ClusterStatus, *, colors: bool) -> Iterator[str]:
    """Yield the objects that are not Ready with their next commands, drift, advice, and the counts."""

    def styled(text: str, **style: Any) -> str:
        return click.style(text, **style) if colors else text

    for state in State:
        found = status.in_state(state)
        if not found or state is State.READY:
            continue
        yield styled(f"{HEADINGS[state]}: {len(found)}", bold=True, fg=_COLORS.get(state))
        for namespace, listed in groupby(found, key=lambda each: each.namespace):
            yield f"  {_namespace(namespace)}"
            for each in listed:
                since = f" for {age(status.now - each.since)}" if each.since else ""
                reason = f"{each.reason}{since}: " if each.reason else ""
                yield f"    {each.kind} {each.name}: {reason}{_shortened(each.message)}"
                yield styled(f"      {each.next_command}", dim=True)
    yield from _drift(status)
    yield from _advice(status)
    ready = status.in_state(State.READY)
    if ready:
        by_namespace = Counter(each.namespace for each in ready)
        counts = ", ".join(f"{_namespace(each)} {count}" for each, count in sorted(by_namespace.items()))
        yield styled(f"{HEADINGS[State.READY]}: {len(ready)}", bold=True, fg="green") + f" ({counts})"
    if not status.objects:
        yield "There are no objects."


def _drift(status: ClusterStatus) -> Iterator[str]:
    drifted = [(each, each.drift) for each in status.objects if each.drift]
    if not drifted:
        return
    yield f"Drift in the last 24 hours: {len(drifted)} {_plural('object', len(drifted))}"
    for each, drift in drifted:
        times = f"{drift.count} {_plural('time', drift.count)} since its creation"
        ago = f"{age(status.now - drift.last_detected_time)} ago" if drift.last_detected_time else ""
        yield f"  {_namespace(each.namespace)} {each.kind} {each.name}: {ago}, {times}"
        yield from (f"    {change}" for change in drift.changes)


def _advice(status: ClusterStatus) -> Iterator[str]:
    advised = [each for each in status.in_state(State.READY) if each.advice]
    if not advised:
        return
    yield f"Advice on Ready objects: {len(advised)}"
    for each in advised:
        yield from (
            f"  {_namespace(each.namespace)} {each.kind} {each.name}: {_shortened(issue)}"
            for issue in each.advice
        )


def as_data(status: ClusterStatus) -> dict[str, object]:
    """Return the status for `-o json` and `-o yaml`."""
    return {
        "needsAttention": status.needs_attention,
        "counts": {state.value: len(status.in_state(state)) for state in State},
        "objects": [
            {
                "kind": each.kind,
                "namespace": each.namespace,
                "name": each.name,
                "state": each.state.value,
                "reason": each.reason,
                "message": each.message,
                "since": each.since.isoformat() if each.since else None,
                "nextCommand": None if each.state is State.READY else each.next_command,
                "issues": list(each.advice),
                "drift": each.drift.model_dump(mode="json", by_alias=True) if each.drift else None,
            }
            for each in status.objects
        ],
    }


def _namespace(namespace: str) -> str:
    return namespace or "(cluster)"


def _shortened(text: str) -> str:
    return text if len(text) <= MAX_MESSAGE else f"{text[:MAX_MESSAGE]}…"


def _plural(noun: str, count: int) -> str:
    return noun if count == 1 else f"{noun}s"
