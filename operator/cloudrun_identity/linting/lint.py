"""Findings about manifests: what the schema, the references, the guardrails and advice say about them."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from cloudrun_identity.api import KINDS, ManagedProject, Reason, Recommendation
from cloudrun_identity.kube.resources import Object
from cloudrun_identity.plan.dry_run import DryRunSession, dry_run_session, in_memory
from cloudrun_identity.plan.model import PlanBlocker
from cloudrun_identity.reconcile.cluster_state import ObjectKey

from .offline_google import UNKNOWN_NUMBER, OfflineGoogle
from .schema_rules import violations


class Level(StrEnum):
    """Severity of a finding."""

    ERROR = "error"
    """The object can never become Ready as it is declared."""
    WARNING = "warning"
    """The object can only become Ready if the cluster or Google Cloud has what the files do not show."""
    ADVICE = "note"
    """The object works, and a smaller grant would do."""


@dataclass(frozen=True, slots=True)
class LintFinding:
    """One finding about an object."""

    object: ObjectKey
    """The object."""
    level: Level
    """Severity."""
    rule: str
    """Name of the rule: the reason of a condition, or the kind of an advice."""
    message: str
    """Explanation with the remedy."""


async def lint(objects: Iterable[Object]) -> tuple[LintFinding, ...]:
    """Return what is known about valid objects without a cluster and without Google Cloud.

    The operator's own reconcile decides, over objects in memory and a Google Cloud without resources. Only
    the results that do not depend on Google Cloud are findings.
    """
    async with dry_run_session(OfflineGoogle(), await in_memory(objects), _NAMESPACE) as run:
        await run.reconcile_all()
        found = [*filter(None, map(_finding, run.blockers())), *_advice(run)]
    return tuple(found)


def broken_rules(objects: Iterable[Object]) -> tuple[LintFinding, ...]:
    """Return the violations of the CEL rules of the CRDs.

    Raises:
        RulesUnavailable: the rules cannot be evaluated.

    """
    return tuple(
        LintFinding(_key(obj), Level.ERROR, Reason.INVALID_SPEC, message)
        for obj in objects
        if obj["kind"] in KINDS
        for message in violations(obj)
    )


def _key(obj: Object) -> ObjectKey:
    metadata = obj["metadata"]
    return ObjectKey(obj["kind"], metadata.get("namespace", ""), metadata["name"])


def _finding(blocker: PlanBlocker) -> LintFinding | None:
    level, message = _LEVELS.get(blocker.reason), blocker.message
    if level is None:
        return None
    if blocker.reason is Reason.DEPENDENCY_NOT_FOUND:
        message = message.replace(
            "does not exist; create it, or correct the reference", "is not in the files"
        )
        if f"{ManagedProject.__name__} " in message:
            message += ", so that the guardrails are not checked; add its file"
    if blocker.reason is Reason.DENIED_BY_GUARDRAIL and _is_about_unknown_members(message):
        level = Level.WARNING
    return LintFinding(blocker.object, level, blocker.reason, _with_numbers(message))


def _is_about_unknown_members(refusal: str) -> bool:
    """Return whether all members that the guardrails refuse have an e-mail with the number of a project."""
    refused = _REFUSED_MEMBER.findall(refusal)
    return bool(refused) and all(map(UNKNOWN_NUMBER.search, refused))


def _with_numbers(refusal: str) -> str:
    """Return the refusal with the commands that print the numbers of projects that are in it.

    The command that admits the members runs them. Its patch is in single quotes.
    """
    unknown = dict.fromkeys(UNKNOWN_NUMBER.findall(refusal))
    if not unknown:
        return refusal
    text, kubectl, command = refusal.partition("kubectl patch ")
    command = UNKNOWN_NUMBER.sub(lambda found: f"""'"$({_print_number(found[1])})"'""", command)
    known = "; ".join(f"number-of-{each} is what {_print_number(each)} prints" for each in unknown)
    entry = ". An entry that has the number admits such a member" if command else ""
    numbers = f"The numbers of projects are not known without Google Cloud: {known}"
    return f"{text}{kubectl}{command}. {numbers}{entry}"


def _print_number(project_id: str) -> str:
    return f"gcloud projects describe {project_id} --format='value(projectNumber)'"


def _advice(run: DryRunSession) -> Iterator[LintFinding]:
    for key, report in run.reports.latest.items():
        fields = report.summary.fields if report.summary else {}
        for each in fields.get("recommendations", ()):
            if isinstance(each, Recommendation):
                yield LintFinding(key, Level.ADVICE, each.kind, each.text)


_LEVELS = {
    Reason.INVALID_SPEC: Level.ERROR,
    Reason.DENIED_BY_GUARDRAIL: Level.ERROR,
    Reason.CONFLICT: Level.ERROR,
    Reason.DEPENDENCY_NOT_FOUND: Level.WARNING,
}
"""Severities by the reasons that do not depend on Google Cloud."""

_REFUSED_MEMBER = re.compile(r" for (\S+) in namespace ")
"""Member in a refusal of the guardrails."""

_NAMESPACE = "cloudrun-identity"
