"""Build the manifest files for a survey of a project."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import yaml

from cloudrun_identity.api import MAX_SPEC_BYTES
from cloudrun_identity.api.predefined_roles import (
    OPEN_ID_TOKEN_CREATOR,
    TOKEN_CREATOR,
    USER,
    WORKLOAD_IDENTITY_USER,
)
from cloudrun_identity.gcp.service_accounts import ServiceAccount
from cloudrun_identity.iam.grants import BindingKey, Grant
from cloudrun_identity.iam.principals import email, lower_email
from cloudrun_identity.iam.spec_forms import Manifest

from .admission import Admission
from .manifests import (
    attachment_manifest,
    binding_manifest,
    identity_manifest,
    key_manifest,
    project_manifest,
    role_manifest,
)
from .names import distinct, object_name
from .selection import LeftOut, Selection, select
from .survey import Survey

MAX_LIST = 64
"""Maximum length of each list of a CloudRunIdentity."""


@dataclass(frozen=True, slots=True)
class Export:
    """The text of each file by its name, and the resources that the files leave out."""

    files: Mapping[str, str]
    left_out: tuple[LeftOut, ...]
    objects: tuple[tuple[str, str], ...] = ()
    """Kinds and names of the objects in the files."""

    @property
    def text(self) -> str:
        """Return all files as one stream of documents."""
        return "---\n".join(self.files.values())


def export(survey: Survey, namespace: str, without: frozenset[str] = frozenset()) -> Export:
    """Declare the survey as objects in `namespace`, without the accounts in `without`, by e-mail."""
    selection = select(survey, without)
    left_out = list(selection.left_out)
    while refused := (admission := Admission(survey, selection, namespace)).refusals():
        left_out += [LeftOut(str(grant), why) for grant, why in refused.items()]
        admitted = tuple(grant for grant in selection.grants if grant not in refused)
        selection = replace(selection, grants=admitted)
    writer = _Writer(survey, selection, namespace)
    files = {
        "project.yaml": [writer.project(admission)],
        "roles.yaml": writer.roles(),
        "identities.yaml": writer.identities(),
        "bindings.yaml": writer.bindings(),
        "attachments.yaml": writer.attachments(),
        "keys.yaml": writer.keys(),
    }
    return Export(
        {name: "---\n".join(map(_document, entries)) for name, entries in files.items() if entries},
        tuple(left_out),
        tuple((obj["kind"], obj["metadata"]["name"]) for entries in files.values() for _, obj in entries),
    )


_Entry = tuple[str, Manifest]
"""A comment about an object, and its manifest."""


class _Writer:
    """Writes the objects of one selection, which refer to each other by name."""

    def __init__(self, survey: Survey, selection: Selection, namespace: str) -> None:
        self._survey = survey
        self._selection = selection
        self._namespace = namespace
        self._project = object_name(survey.project_id)
        roles = distinct({role.name: (role.role_id,) for role in selection.roles})
        accounts = {lower_email(each.email): each.email.partition("@")[0] for each in selection.accounts}
        self._declared = {**roles, **accounts}
        self._own, self._others = _divided(selection)

    def project(self, admission: Admission) -> _Entry:
        survey = self._survey
        manifest = project_manifest(
            self._project, self._namespace, survey.project_id, survey.locations, admission.guardrails()
        )
        comment = (
            f"Project {self._survey.project_id} for namespace {self._namespace}, which must exist:\n"
            f"  kubectl create namespace {self._namespace}\n"
            "The guardrails admit the exported resources and nothing else."
        )
        return comment, manifest

    def roles(self) -> list[_Entry]:
        return [
            (
                f"{role.name}, which the operator keeps when this object is deleted.",
                role_manifest(self._declared[role.name], self._namespace, self._project, role),
            )
            for role in self._selection.roles
        ]

    def identities(self) -> list[_Entry]:
        return [self._identity(account) for account in self._selection.accounts]

    def bindings(self) -> list[_Entry]:
        by_binding: defaultdict[BindingKey, list[Grant]] = defaultdict(list)
        for grant in self._others:
            by_binding[grant.binding_key].append(grant)
        names = distinct({binding_key: _words(binding_key) for binding_key in by_binding})
        return [
            (
                f"{binding_key}.",
                binding_manifest(
                    object_name(names[binding_key], number),
                    self._namespace,
                    self._project,
                    part,
                    self._declared,
                ),
            )
            for binding_key, grants in by_binding.items()
            for number, part in _parts(grants)
        ]

    def attachments(self) -> list[_Entry]:
        names = distinct(
            {
                state.workload: (state.workload.kind.value, state.workload.location, state.workload.name)
                for state in self._selection.attached
            }
        )
        return [
            (
                f"The workload already runs as {state.service_account}.",
                attachment_manifest(name, self._namespace, self._project, state, self._declared),
            )
            for state in self._selection.attached
            for name in [names[state.workload]]
        ]

    def keys(self) -> list[_Entry]:
        names = distinct({key: (key.name,) for key in self._selection.keys})
        return [
            (
                f"A new key of {key.account}, in another Secret. The former key works until it is deleted.",
                key_manifest(names[key], self._namespace, self._project, key, self._declared),
            )
            for key in self._selection.keys
        ]

    def _identity(self, account: ServiceAccount) -> _Entry:
        key = lower_email(account.email)
        running = [
            str(state.workload)
            for state in self._selection.attached
            if lower_email(state.service_account) == key
        ]
        lists = {field: self._own[key, field] for field in ("roles", *_ROLE_OF)}
        manifest = identity_manifest(
            self._declared[key],
            self._namespace,
            self._project,
            account,
            lists.pop("roles"),
            {field: [grant.member for grant in grants] for field, grants in lists.items()},
            self._declared,
        )
        if namespaces := sorted(self._survey.referring.get(key, frozenset()) - {self._namespace}):
            manifest["spec"]["allowedNamespaces"] = namespaces
        runs = f" Workloads: {', '.join(running)}." if running else ""
        return f"{account.email}, which the operator keeps when this object is deleted.{runs}", manifest


def _divided(selection: Selection) -> tuple[Mapping[tuple[str, str], list[Grant]], list[Grant]]:
    """Divide the grants into those that identities declare, by account and field, and those of bindings."""
    own: defaultdict[tuple[str, str], list[Grant]] = defaultdict(list)
    others: list[Grant] = []
    for grant in selection.grants:
        place = _place(grant, selection)
        if place and len(own[place]) < MAX_LIST:
            own[place].append(grant)
        else:
            others.append(grant)
    return own, others


def _place(grant: Grant, selection: Selection) -> tuple[str, str] | None:
    """Return the account and the field of its identity that declare a grant; None if a binding does."""
    if grant.target.is_project and selection.account_of(email(grant.member)):
        return lower_email(email(grant.member)), "roles"
    if grant.target.is_service_account and not grant.condition:
        field = next((field for field, role in _ROLE_OF.items() if role == grant.role), None)
        return (lower_email(grant.target.name), field) if field else None
    return None


def _words(binding_key: BindingKey) -> tuple[str, ...]:
    """Return the parts of a binding's name."""
    target, title = binding_key.target, binding_key.condition.title if binding_key.condition else ""
    kind = "account" if target.is_service_account else target.kind.value
    name = target.name.partition("@")[0]
    return kind, target.location, target.parent, name, binding_key.role.rpartition("/")[2], title


def _parts(grants: list[Grant]) -> Iterator[tuple[str, list[Grant]]]:
    """Split the grants of one binding by the size that a spec should have. Number each part but the first."""
    part: list[Grant] = []
    number = size = 0
    for grant in grants:
        length = len(json.dumps({"principal": grant.member})) + len(", ")
        if part and size + length > _MEMBERS_SIZE:
            number += 1
            yield str(number) if number > 1 else "", part
            part, size = [], 0
        part.append(grant)
        size += length
    yield str(number + 1) if number else "", part


def _document(entry: _Entry) -> str:
    text, manifest = entry
    comment = "".join(f"# {line}\n" for line in text.splitlines())
    return comment + yaml.dump(manifest, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


class _Dumper(yaml.SafeDumper):
    """Writes equal lists twice instead of as an anchor and an alias, which are hard to edit."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - the signature of PyYAML
        return True


_MEMBERS_SIZE = MAX_SPEC_BYTES - 4096  # the rest of the spec, with a condition
_ROLE_OF = {
    "users": USER,
    "tokenCreators": TOKEN_CREATOR,
    "openIDTokenCreators": OPEN_ID_TOKEN_CREATOR,
    "workloadIdentityUsers": WORKLOAD_IDENTITY_USER,
}
"""Lists of a CloudRunIdentity that grant a role on its account."""
