"""Build the manifest files for a survey of a project."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

import yaml

from cloudrun_identity.api import MAX_ENTRIES
from cloudrun_identity.iam.principals import email, lower_email

from .admission import Admission
from .conventions import Convention
from .namespaces import Namespaces, Placement
from .selection import LeftOut, Selection, select
from .survey import Survey
from .writer import MAX_LIST, Entry, Writer, referring_namespaces


@dataclass(frozen=True, slots=True)
class Totals:
    """Numbers of the exported resources."""

    accounts: int = 0
    """Service accounts."""
    roles: int = 0
    """Custom roles."""
    workloads: int = 0
    """Workloads."""
    grants: int = 0
    """Grants."""

    def __str__(self) -> str:
        counted = {
            "account": self.accounts,
            "custom role": self.roles,
            "workload": self.workloads,
            "grant": self.grants,
        }
        return ", ".join(f"{number:,} {name}{'s' * (number != 1)}" for name, number in counted.items())


@dataclass(frozen=True, slots=True)
class Export:
    """The manifests of an export, and the resources that they leave out."""

    files: Mapping[str, str]
    """Text of each file by its name."""
    left_out: tuple[LeftOut, ...]
    """Resources that the files leave out."""
    objects: tuple[tuple[str, str, str], ...] = ()
    """Kinds, namespaces and names of the objects in the files."""
    namespaces: tuple[str, ...] = ()
    """Namespaces of the objects."""
    totals: Totals = Totals()
    """Numbers of the exported resources."""
    conventions: tuple[Convention, ...] = ()
    """Patterns in the guardrails, which admit more than what was exported."""
    is_forced: bool = False
    """True if the guardrails have patterns because exact lists do not fit."""
    is_too_large: bool = False
    """True if the guardrails are too large for client-side `kubectl apply`."""

    @property
    def text(self) -> str:
        """Return all files as one stream of documents."""
        return "---\n".join(self.files.values())

    @property
    def reasons(self) -> tuple[tuple[str, int], ...]:
        """The reasons for which resources are left out, with their numbers, the most frequent first."""
        return tuple(Counter(each.reason for each in self.left_out).most_common())


def export(
    survey: Survey,
    namespaces: Namespaces,
    without: frozenset[str] = frozenset(),
    *,
    patterns: bool = False,
) -> Export:
    """Declare the survey as objects in its namespaces, without the accounts in `without`, by e-mail.

    The guardrails have patterns of names with `patterns`, or if exact lists do not fit.
    """
    selection = select(survey, without)
    placement = Placement(survey, namespaces, selection.accounts)
    exact = Admission(survey, selection, placement)
    is_forced = exact.is_too_large and not patterns
    if patterns or is_forced:
        beyond = Admission(survey, selection, placement, patterns=True).accounts_beyond_limit()
        if beyond:
            selection = _without_accounts(survey, without, beyond)
    selection = _within_references(survey, selection, placement)
    admission = Admission(survey, selection, placement, patterns=patterns or is_forced)
    while refused := admission.refusals():
        left_out = tuple(LeftOut(str(grant), why, _NOT_ADMITTED) for grant, why in refused.items())
        selection = replace(
            selection,
            grants=tuple(grant for grant in selection.grants if grant not in refused),
            left_out=(*selection.left_out, *left_out),
        )
        admission = Admission(survey, selection, placement, patterns=patterns or is_forced)
    files = Writer(survey, selection, placement).files(admission)
    return Export(
        {name: "---\n".join(map(_document, entries)) for name, entries in files.items()},
        selection.left_out,
        tuple(
            (obj["kind"], obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
            for entries in files.values()
            for _, obj in entries
        ),
        tuple(admission.namespaces),
        Totals(
            len(selection.accounts),
            len(selection.roles),
            len(selection.attached),
            len(selection.grants),
        ),
        admission.conventions,
        is_forced,
        admission.is_too_large,
    )


def _without_accounts(survey: Survey, without: frozenset[str], beyond: frozenset[str]) -> Selection:
    """Return the selection without accounts that do not fit into the list of adoptable accounts."""
    again = select(survey, without | beyond)
    what = {f"ServiceAccount {address}" for address in beyond}
    why = f"a ManagedProject lists at most {MAX_ENTRIES} adoptable accounts"
    left_out = tuple(replace(each, why=why) if each.what in what else each for each in again.left_out)
    return replace(again, left_out=left_out)


def _within_references(survey: Survey, selection: Selection, placement: Placement) -> Selection:
    """Leave out grants and attachments that refer to an identity from more namespaces than it can allow.

    Each export of a conversion leaves out its own objects in the namespaces that exceed the limit.
    """
    beyond = {
        holder: set(names[MAX_LIST:])
        for holder, names in referring_namespaces(survey, selection, placement).items()
        if len(names) > MAX_LIST
    }
    if not beyond:
        return selection
    refused = [
        grant
        for grant in selection.grants
        if placement.of_grant(grant) in beyond.get(lower_email(email(grant.member)), ())
    ]
    detached = [
        state
        for state in selection.attached
        if placement.of_target(state.workload.target) in beyond.get(lower_email(state.service_account), ())
    ]
    why = f"an identity allows at most {MAX_LIST} other namespaces to refer to it"
    labels = (*map(str, refused), *(str(state.workload) for state in detached))
    return replace(
        selection,
        grants=tuple(grant for grant in selection.grants if grant not in set(refused)),
        attached=tuple(state for state in selection.attached if state not in detached),
        left_out=(*selection.left_out, *(LeftOut(label, why) for label in labels)),
    )


def _document(entry: Entry) -> str:
    text, manifest = entry
    comment = "".join(f"# {line}\n" for line in text.splitlines())
    return comment + yaml.dump(manifest, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


class _Dumper(yaml.SafeDumper):
    """Writes equal lists twice instead of as an anchor and an alias, which are hard to edit."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - the signature of PyYAML
        return True


_NOT_ADMITTED = "no guardrail can admit it"
