"""Objects of an export, which refer to each other by name and namespace."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace

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
    Declared,
    attachment_manifest,
    binding_manifest,
    identity_manifest,
    key_manifest,
    project_manifest,
    role_manifest,
)
from .names import distinct, kind_words, object_name
from .namespaces import Placement
from .selection import Selection
from .survey import Survey

MAX_LIST = 64
"""Maximum length of each list of a CloudRunIdentity."""

Entry = tuple[str, Manifest]
"""A comment about an object, and its manifest."""


class Writer:
    """Writes the objects of one selection."""

    def __init__(self, survey: Survey, selection: Selection, placement: Placement) -> None:
        self._survey = survey
        self._selection = selection
        self._placement = placement
        self._project = object_name(survey.project_id)
        self._roles = distinct({role.name: (role.role_id,) for role in selection.roles})
        self._names = {lower_email(each.email): each.email.partition("@")[0] for each in selection.accounts}
        self._references: dict[str, Declared] = {}
        self._own, self._others = self._divided()
        self._allowed = referring_namespaces(survey, selection, placement)
        self._running: defaultdict[str, list[str]] = defaultdict(list)
        for state in survey.workloads:
            self._running[lower_email(state.service_account)].append(str(state.workload))

    def files(self, admission: Admission) -> dict[str, list[Entry]]:
        """Return the entries of each file. With several namespaces, file names start with the namespace."""
        by_kind = {
            "roles.yaml": self._custom_roles(),
            "identities.yaml": [self._identity(account) for account in self._selection.accounts],
            "bindings.yaml": self._bindings(),
            "attachments.yaml": self._attachments(),
            "keys.yaml": self._keys(),
        }
        namespaces = admission.namespaces
        files = {"project.yaml": [self._project_entry(admission)]}
        for namespace in namespaces:
            prefix = f"{namespace}-" if len(namespaces) > 1 else ""
            for name, entries in by_kind.items():
                files[f"{prefix}{name}"] = [
                    entry for entry in entries if entry[1]["metadata"]["namespace"] == namespace
                ]
        return {name: entries for name, entries in files.items() if entries}

    def _project_entry(self, admission: Admission) -> Entry:
        survey, namespaces = self._survey, admission.admitted
        manifest = project_manifest(
            self._project, namespaces, survey.project_id, survey.locations, admission.guardrails
        )
        few = len(namespaces) == 1
        comment = [
            f"Project {survey.project_id} for namespace {namespaces[0]}, which must exist:"
            if few
            else f"Project {survey.project_id} for {len(namespaces)} namespaces, which must exist:",
            f"  kubectl create namespace {namespaces[0]}"
            if few
            else f"  for each in {' '.join(namespaces)}; do kubectl create namespace $each; done",
        ]
        if admission.conventions:
            comment += [
                "The guardrails admit the exported resources, and later ones with names of these patterns:",
                *(f"  {each}" for each in admission.conventions),
            ]
        else:
            comment.append("The guardrails admit the exported resources and nothing else.")
        return "\n".join(comment), manifest

    def _custom_roles(self) -> list[Entry]:
        return [
            (
                f"{role.name}, which the operator keeps when this object is deleted.",
                role_manifest(self._roles[role.name], self._placement.default, self._project, role),
            )
            for role in self._selection.roles
        ]

    def _bindings(self) -> list[Entry]:
        by_binding: defaultdict[tuple[str, BindingKey], list[Grant]] = defaultdict(list)
        for grant in self._others:
            by_binding[self._placement.of_grant(grant), grant.binding_key].append(grant)
        names = distinct({binding_key: _words(binding_key) for _, binding_key in by_binding})
        return [
            (
                f"{binding_key}.",
                binding_manifest(
                    object_name(names[binding_key], number),
                    namespace,
                    self._project,
                    part,
                    self._declared(namespace),
                ),
            )
            for (namespace, binding_key), grants in by_binding.items()
            for number, part in _parts(grants)
        ]

    def _attachments(self) -> list[Entry]:
        names = distinct(
            {
                state.workload: (state.workload.kind.value, state.workload.location, state.workload.name)
                for state in self._selection.attached
            }
        )
        return [
            (
                f"The workload already runs as {state.service_account}.",
                attachment_manifest(
                    names[state.workload],
                    namespace,
                    self._project,
                    state,
                    self._with_other_projects(namespace),
                ),
            )
            for state in self._selection.attached
            for namespace in [self._placement.of_target(state.workload.target)]
        ]

    def _with_other_projects(self, namespace: str) -> Declared:
        """Return the references of the namespace, also to identities that other exports declare."""
        declared = self._declared(namespace)
        elsewhere = {
            key: _reference(identity.name, identity.namespace, namespace)
            for key, identity in self._survey.identities.items()
        }
        return replace(declared, identities={**elsewhere, **declared.identities})

    def _keys(self) -> list[Entry]:
        names = distinct({key: (key.name,) for key in self._selection.keys})
        return [
            (
                f"A new key of {key.account}, in another Secret. The former key works until it is deleted.",
                key_manifest(names[key], namespace, self._project, key, self._declared(namespace)),
            )
            for key in self._selection.keys
            for namespace in [self._placement.of_account(key.account)]
        ]

    def _identity(self, account: ServiceAccount) -> Entry:
        key = lower_email(account.email)
        lists = {field: self._own[key, field] for field in ("roles", *_ROLE_OF)}
        namespace = self._placement.of_account(account.email)
        manifest = identity_manifest(
            self._names[key],
            namespace,
            self._project,
            account,
            lists.pop("roles"),
            {field: [grant.member for grant in grants] for field, grants in lists.items()},
            self._allowed.get(key, [])[:MAX_LIST],
            self._declared(namespace),
        )
        comment = f"{account.email}, which the operator keeps when this object is deleted."
        if running := self._running.get(key):
            comment += f" Workloads: {', '.join(running)}."
        if keys := self._survey.hand_made_keys.get(account.email):
            comment += f"\nKeys made by hand: {', '.join(keys)}. An IdentityKey can replace them."
        return comment, manifest

    def _declared(self, namespace: str) -> Declared:
        """Return the references that objects in a namespace write."""
        if namespace not in self._references:
            self._references[namespace] = self._references_in(namespace)
        return self._references[namespace]

    def _references_in(self, namespace: str) -> Declared:
        identities = {
            key: _reference(name, self._placement.of_account(key), namespace)
            for key, name in self._names.items()
        }
        return Declared(identities, self._roles if namespace == self._placement.default else {})

    def _divided(self) -> tuple[Mapping[tuple[str, str], list[Grant]], list[Grant]]:
        """Divide the grants into those that identities declare, by account and field, and the others."""
        own: defaultdict[tuple[str, str], list[Grant]] = defaultdict(list)
        others: list[Grant] = []
        for grant in self._selection.grants:
            place = self._place(grant)
            if place and len(own[place]) < MAX_LIST:
                own[place].append(grant)
            else:
                others.append(grant)
        return own, others

    def _place(self, grant: Grant) -> tuple[str, str] | None:
        """Return the account and the field of its identity that declare a grant; None if a binding does."""
        if grant.target.is_project and (holder := lower_email(email(grant.member))) in self._names:
            return holder, "roles"
        if grant.target.is_service_account and not grant.condition:
            field = next((field for field, role in _ROLE_OF.items() if role == grant.role), None)
            return (lower_email(grant.target.name), field) if field else None
        return None


def _reference(name: str, home: str, namespace: str) -> Manifest:
    """Return the reference to an identity that an object in a namespace writes."""
    return {"name": name} if home == namespace else {"name": name, "namespace": home}


def referring_namespaces(
    survey: Survey, selection: Selection, placement: Placement
) -> Mapping[str, list[str]]:
    """Return the other namespaces with objects that refer to an identity, by e-mail in lower case.

    They are sorted, and include those of other exports. An identity allows the first `MAX_LIST` of them.
    """
    homes = {key: identity.namespace for key, identity in survey.identities.items()}
    homes |= {
        key: placement.of_account(key) for each in selection.accounts if (key := lower_email(each.email))
    }
    found: defaultdict[str, set[str]] = defaultdict(set)
    for key, names in survey.referring.items():
        found[key].update(names)
    for grant in selection.grants:
        found[lower_email(email(grant.member))].add(placement.of_grant(grant))
    return {key: sorted(names - {homes[key]}) for key, names in found.items() if homes.get(key)}


def _words(binding_key: BindingKey) -> tuple[str, ...]:
    """Return the parts of a binding's name."""
    target, title = binding_key.target, binding_key.condition.title if binding_key.condition else ""
    kind = "account" if target.is_service_account else kind_words(target.kind)
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


_MEMBERS_SIZE = MAX_SPEC_BYTES - 4096  # the rest of the spec, with a condition
_ROLE_OF = {
    "users": USER,
    "tokenCreators": TOKEN_CREATOR,
    "openIDTokenCreators": OPEN_ID_TOKEN_CREATOR,
    "workloadIdentityUsers": WORKLOAD_IDENTITY_USER,
}
"""Lists of a CloudRunIdentity that grant a role on its account."""
