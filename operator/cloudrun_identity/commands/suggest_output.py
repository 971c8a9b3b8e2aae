"""Formats of suggestions for a terminal and for programs: text and JSON."""

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cloudrun_identity.exporting.suggestion_manifests import Document
    from cloudrun_identity.exporting.suggestions import SuggestedGrant, Suggestion

SCHEMA_VERSION = 1
"""Version of the JSON schema. It rises if a field is removed or changes its meaning."""


def as_text(suggestions: "Sequence[Suggestion]") -> Iterator[str]:
    """Yield the grants and notes by account, and the summary."""
    from cloudrun_identity.exporting.suggestion_manifests import admission_lines, described

    for each in suggestions:
        how = "should run as" if each.is_new else "runs as" if len(each.workloads) == 1 else "run as"
        identity = each.identity
        declared = (
            f"  (CloudRunIdentity {identity.namespace}/{identity.name})"
            if identity and not each.is_new
            else ""
        )
        yield f"{described(each.workloads)} {how} {each.account}{declared}"
        if each.is_new:
            yield "  + a CloudRunIdentity and an IdentityAttachment, instead of the default account"
            yield from (f"    ! {line}" for line in admission_lines(each.refusal))
        for grant in each.grants:
            yield f"  + {grant_text(grant)}"
            yield from (f"    ! {line}" for line in admission_lines(grant.refusal))
        for note in each.notes:
            yield f"  Note: {note.text}"
            if note.command:
                yield f"    {note.command}"
    yield summary(suggestions)


def grant_text(grant: "SuggestedGrant") -> str:
    """Return a grant as one line, with its reason."""
    from cloudrun_identity.iam.workload_needs import Holder

    need = grant.need
    agent = " for the Cloud Run service agent" if need.access.holder is Holder.SERVICE_AGENT else ""
    when = f" if {need.condition.title}" if need.condition else ""
    return f"{need.access.role} on {need.target}{when}{agent}: the workload {need.reason}"


def summary(suggestions: "Sequence[Suggestion]") -> str:
    """Return one sentence with the counts."""
    grants = [grant for each in suggestions for grant in each.grants]
    refused = sum(grant.refusal is not None for grant in grants)
    identities = sum(each.is_new for each in suggestions)
    workloads = sum(len(each.workloads) for each in suggestions)
    if not grants and not identities:
        return f"Nothing to suggest for {_counted(workloads, 'workload')}."
    new = f" and {_counted(identities, 'identity', 'identities')}" if identities else ""
    rest = f"; {refused} not admitted by guardrails" if refused else ""
    return f"Suggested {_counted(len(grants), 'grant')}{new} for {_counted(workloads, 'workload')}{rest}."


def as_json(suggestions: "Sequence[Suggestion]", found: "Sequence[Document]") -> str:
    """Return the suggestions for `-o json`. docs/how-to/suggest.md documents the fields."""
    answer = {
        "schemaVersion": SCHEMA_VERSION,
        "result": "Suggestions" if any(not each.is_empty for each in suggestions) else "NoSuggestions",
        "accounts": [_account_json(each) for each in suggestions],
        "manifests": [document.obj for document in found],
    }
    return json.dumps(answer, indent=2, ensure_ascii=False)


def _account_json(suggestion: "Suggestion") -> dict[str, Any]:
    identity = suggestion.identity
    return {
        "email": suggestion.account,
        "identity": {"namespace": identity.namespace, "name": identity.name} if identity else None,
        "suggested": suggestion.is_new,
        "notAdmitted": suggestion.refusal.reason if suggestion.refusal else None,
        "workloads": [
            {
                "projectID": workload.project_id,
                "kind": workload.kind.value,
                "location": workload.location,
                "name": workload.name,
            }
            for workload in suggestion.workloads
        ],
        "grants": [_grant_json(grant) for grant in suggestion.grants],
        "notes": [{"text": note.text, "command": note.command or None} for note in suggestion.notes],
    }


def _grant_json(grant: "SuggestedGrant") -> dict[str, Any]:
    from cloudrun_identity.iam.spec_forms import condition_manifest, target_manifest

    need = grant.need
    return {
        "projectID": need.target.project_id,
        "target": target_manifest(need.target),
        "role": need.access.role,
        "member": grant.member or None,
        **condition_manifest(need.condition),
        "reason": need.reason,
        "notAdmitted": grant.refusal.reason if grant.refusal else None,
    }


def _counted(count: int, noun: str, plural: str = "") -> str:
    return f"{count} {noun if count == 1 else plural or f'{noun}s'}"
