"""Formats of a plan for a terminal and for programs: text and JSON."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from cloudrun_identity.kube.manifest_files import Manifests, Source
    from cloudrun_identity.plan.model import DryRun, PlanBlocker, PlannedStep
    from cloudrun_identity.reconcile.cluster_state import ObjectKey

SCHEMA_VERSION = 1
"""Version of the JSON schema. It rises if a field is removed or changes its meaning."""

NO_CHANGES, ERROR, CHANGES = 0, 1, 2
"""Exit codes, as of `terraform plan -detailed-exitcode`."""

_COLORS = {"+": "green", "~": "yellow", "-": "red", "!": "red", "?": "cyan"}
_ACTIONS = {"+": "add", "~": "change", "-": "remove"}
_RESULTS = {NO_CHANGES: "NoChanges", ERROR: "Error", CHANGES: "Changes"}


@dataclass(frozen=True, slots=True)
class PlanOutput:
    """A plan with what its formats need."""

    plan: "DryRun"
    """The plan."""
    manifests: "Manifests"
    """The manifests that are planned, with their files."""
    in_cluster: bool
    """True if the plan is for the objects of a cluster."""

    @property
    def exit_code(self) -> int:
        """The exit code of the command."""
        if self.plan.is_blocked:
            return ERROR
        return CHANGES if self.plan.steps else NO_CHANGES

    @property
    def counts(self) -> dict[str, int]:
        """The number of changes by action, of those that are only observed, and of unready objects."""
        actions = [_ACTIONS[step.sign] for step in self.plan.steps]
        blocked = {each.object for each in self.plan.blockers if each.final}
        return {
            **{action: actions.count(action) for action in _ACTIONS.values()},
            "observed": sum(step.observed for step in self.plan.steps),
            "blocked": len(blocked),
            "waiting": len({each.object for each in self.plan.blockers} - blocked),
        }

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about what the plan cannot know."""
        return (*(() if self.in_cluster else (WITHOUT_CLUSTER,)), *self.plan.notes)

    def source(self, key: "ObjectKey") -> "Source | None":
        """Return the place of the manifest of an object; None if it is not among the manifests."""
        return self.manifests.sources.get((key.kind, key.namespace, key.name))


WITHOUT_CLUSTER = (
    "Planned without a cluster: objects that are not in the files count as absent, what is managed already "
    "counts as unmanaged, and removals are not shown. Use --kubeconfig or --context to plan for a cluster."
)


def as_text(output: PlanOutput, *, colors: bool) -> Iterator[str]:
    """Yield the notes, the steps by resource, the blockers, and the summary."""

    def styled(text: str, **style: Any) -> str:
        return click.style(text, **style) if colors else text

    for note in output.notes:
        yield styled(f"Note: {note}", dim=True)
    for resource, steps in by_resource(output.plan.steps):
        yield styled(resource, bold=True)
        for step in steps:
            yield "  " + styled(step_text(step), fg=_COLORS[step.sign])
    for blocker in output.plan.blockers:
        yield styled(blocker_text(blocker), fg=_COLORS[mark_of(blocker)])
    yield styled(summary(output), bold=True)


def by_resource(steps: "Iterable[PlannedStep]") -> "Iterator[tuple[str, Iterator[PlannedStep]]]":
    """Yield each resource with its steps."""
    return groupby(steps, key=lambda step: step.resource)


def step_text(step: "PlannedStep") -> str:
    """Return a step as one line, with the object that asks for it."""
    note = ", observed only" if step.observed else ""
    return f"{step.sign} {step.text}  ({step.object}{note})"


def mark_of(blocker: "PlanBlocker") -> str:
    """Return the mark before a blocker: `!` if a user has to act, `?` if the object only waits."""
    return "!" if blocker.final else "?"


def blocker_text(blocker: "PlanBlocker") -> str:
    """Return a blocker as one line."""
    return f"{mark_of(blocker)} {blocker.object}: {blocker.reason}: {blocker.message}"


def summary(output: PlanOutput) -> str:
    """Return one sentence with the counts. Nothing changes only if every object could be planned."""
    counts = output.counts
    blocked, waiting, observed = counts["blocked"], counts["waiting"], counts["observed"]
    notes = [
        f"{_objects(blocked)} would not become Ready" if blocked else "",
        f"{_objects(waiting)} would wait" if waiting else "",
        f"{observed} of the changes observed only" if observed else "",
    ]
    rest = "".join(f"; {note}" for note in notes if note)
    if output.plan.steps:
        changes = f"{counts['add']} to add, {counts['change']} to change, {counts['remove']} to remove"
        return f"Plan: {changes}{rest}."
    if blocked:
        return f"Error: the plan is incomplete{rest}."
    return f"Nothing would change{rest}."


def as_json(output: PlanOutput) -> dict[str, object]:
    """Return the plan for `-o json`. docs/how-to/ci.md documents the fields."""
    return {
        "schemaVersion": SCHEMA_VERSION,
        "result": _RESULTS[output.exit_code],
        "cluster": output.in_cluster,
        "notes": list(output.notes),
        "resources": [
            {"resource": resource, "changes": [_change_json(output, step) for step in steps]}
            for resource, steps in by_resource(output.plan.steps)
        ],
        "blockers": [
            {
                **_object_json(output, blocker.object),
                "reason": blocker.reason,
                "message": blocker.message,
                "final": blocker.final,
            }
            for blocker in output.plan.blockers
        ],
        "summary": output.counts,
    }


def _change_json(output: PlanOutput, step: "PlannedStep") -> dict[str, object]:
    return {
        "action": _ACTIONS[step.sign],
        "text": step.text,
        **_detail_json(step),
        "observed": step.observed,
        **_object_json(output, step.object),
    }


def _detail_json(step: "PlannedStep") -> dict[str, object]:
    """Return the changed field with its values, or the grant."""
    from cloudrun_identity.iam.expiry import timestamp
    from cloudrun_identity.iam.grants import Grant

    detail = step.detail
    if isinstance(detail, Grant):
        condition = detail.condition
        return {
            "grant": {
                "role": detail.role,
                "member": detail.member,
                "condition": {"title": condition.title, "expression": condition.expression}
                if condition
                else None,
                "expiresAt": timestamp(step.ends) if step.ends else None,
            }
        }
    if detail is None:
        return {}
    return {"field": {"name": detail.field, "before": detail.before, "after": detail.after}}


def _object_json(output: PlanOutput, key: "ObjectKey") -> dict[str, object]:
    source = output.source(key)
    return {
        "object": {"kind": key.kind, "namespace": key.namespace, "name": key.name},
        "file": str(source.path) if source else None,
        "line": source.line if source else None,
    }


def _objects(count: int) -> str:
    return f"{count} object{'' if count == 1 else 's'}"
