"""Manifests of suggestions, with the reason for each grant as a comment."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import yaml

from cloudrun_identity.api import IAMBinding, TargetKind
from cloudrun_identity.api.group import API_VERSION
from cloudrun_identity.gcp.workloads import Workload
from cloudrun_identity.iam.admission import Denied
from cloudrun_identity.iam.gcloud_bindings import binding_command
from cloudrun_identity.iam.proposals import patch_command
from cloudrun_identity.iam.spec_forms import Manifest, condition_manifest, target_manifest
from cloudrun_identity.iam.workload_needs import Holder

from .declared import Declared
from .names import kind_words, object_name
from .suggestions import SuggestedGrant, Suggestion
from .writer import MAX_LIST


@dataclass(frozen=True, slots=True)
class Document:
    """A manifest with comments."""

    comments: tuple[str, ...]
    """Comments about the object, one line each."""
    manifest: Manifest
    """The manifest without `roles`."""
    roles: tuple[tuple[tuple[str, ...], Manifest], ...] = ()
    """Entries of `spec.roles`, each with its comments."""

    @property
    def obj(self) -> Manifest:
        """The complete object."""
        roles = [role for _, role in self.roles]
        spec = self.manifest["spec"]
        return {**self.manifest, "spec": {**spec, "roles": roles} if roles else spec}

    @property
    def text(self) -> str:
        """The object as YAML, with its comments."""
        lines = [*_commented(self.comments), _dumped(self.manifest)]
        if self.roles:
            lines.append("  roles:\n")
            for comments, role in self.roles:
                lines += _commented(comments, "  ")
                lines += (f"  {line}\n" for line in _dumped([role]).splitlines())
        return "".join(lines)


def documents(suggestions: Iterable[Suggestion], declared: Declared) -> tuple[Document, ...]:
    """Return the suggested objects."""
    return tuple(_Writer(declared).documents(suggestions))


def text_of(suggestions: Iterable[Suggestion], found: Iterable[Document]) -> str:
    """Return the objects as one YAML stream, followed by the notes as comments; empty for nothing."""
    notes = [
        line
        for each in suggestions
        for note in each.notes
        for line in _note_lines(each, note.text, note.command)
    ]
    return "---\n".join(document.text for document in found) + "".join(_commented(notes))


def admission_lines(refusal: Denied | None) -> Iterator[str]:
    """Yield why guardrails refuse something, and the command that admits it."""
    if refusal is None:
        return
    yield f"Not admitted: {refusal.reason}."
    if refusal.proposals:
        is_escalating = any(each.escalates for each in refusal.proposals)
        warning = " (this permits privilege escalation)" if is_escalating else ""
        yield f"To admit it{warning}: {patch_command(refusal.proposals)}"


class _Writer:
    def __init__(self, declared: Declared) -> None:
        self._declared = declared
        self._names: set[tuple[str, str]] = set()

    def documents(self, suggestions: Iterable[Suggestion]) -> Iterator[Document]:
        for suggestion in suggestions:
            own = [each for each in suggestion.grants if each.need.access.holder is Holder.IDENTITY]
            in_identity = own[:MAX_LIST] if suggestion.is_new else []
            if suggestion.is_new and suggestion.identity:
                yield self._identity(suggestion, in_identity)
                yield self._attachment(suggestion)
            for grant in suggestion.grants:
                if grant not in in_identity:
                    yield self._binding(suggestion, grant)

    def _identity(self, suggestion: Suggestion, grants: Iterable[SuggestedGrant]) -> Document:
        (workload,), project_id = suggestion.workloads, suggestion.workloads[0].project_id
        comments = (
            f"{workload} runs as the default account. This identity has the roles that its template needs.",
            *self._unknown_project(project_id),
        )
        name = suggestion.account.partition("@")[0]
        manifest = self._manifest("CloudRunIdentity", name, suggestion.namespace, project_id, {})
        return Document(comments, manifest, tuple(self._role(grant, project_id) for grant in grants))

    def _role(self, grant: SuggestedGrant, home: str) -> tuple[tuple[str, ...], Manifest]:
        need, project_id = grant.need, grant.need.target.project_id
        is_elsewhere = project_id != home
        elsewhere = {"projectRef": {"name": self._declared.project_name(project_id)}} if is_elsewhere else {}
        target = {} if need.target.is_project else {"target": target_manifest(need.target)}
        comments = self._reasons(grant, unknown_project=is_elsewhere)
        return comments, {
            "role": need.access.role,
            **target,
            **elsewhere,
            **condition_manifest(need.condition),
        }

    def _attachment(self, suggestion: Suggestion) -> Document:
        workload = suggestion.workloads[0]
        spec = {
            "workload": {"kind": workload.kind.value, "location": workload.location, "name": workload.name},
            "identityRef": {"name": suggestion.account.partition("@")[0]},
        }
        name = object_name(workload.kind.value, workload.location, workload.name)
        manifest = self._manifest("IdentityAttachment", name, suggestion.namespace, workload.project_id, spec)
        comments = (
            f"Runs {workload} as the identity.",
            *admission_lines(suggestion.refusal),
        )
        return Document(comments, manifest)

    def _binding(self, suggestion: Suggestion, grant: SuggestedGrant) -> Document:
        need = grant.need
        spec = {
            "target": target_manifest(need.target),
            "role": need.access.role,
            "members": [self._member(suggestion, grant)],
            **condition_manifest(need.condition),
        }
        name = self._name(suggestion, grant)
        project_id = need.target.project_id
        manifest = self._manifest("IAMBinding", name, suggestion.namespace, project_id, spec)
        return Document(self._reasons(grant, unknown_project=True), manifest)

    def _member(self, suggestion: Suggestion, grant: SuggestedGrant) -> Manifest:
        if grant.need.access.holder is Holder.SERVICE_AGENT:
            project = self._declared.project_name(suggestion.workloads[0].project_id)
            return {"cloudRunServiceAgentOf": {"projectRef": {"name": project}}}
        identity = suggestion.identity
        if identity is None:
            return {"principal": grant.member}
        elsewhere = {"namespace": identity.namespace} if identity.namespace != suggestion.namespace else {}
        return {"identityRef": {"name": identity.name, **elsewhere}}

    def _reasons(self, grant: SuggestedGrant, *, unknown_project: bool) -> tuple[str, ...]:
        need = grant.need
        is_agent = need.access.holder is Holder.SERVICE_AGENT
        who = " The Cloud Run service agent needs the role, not the identity." if is_agent else ""
        project_id = need.target.project_id
        assumed = ""
        if need.target.kind is TargetKind.STORAGE_BUCKET:
            assumed = f" The bucket is assumed to belong to project {project_id}."
        unknown = self._unknown_project(project_id, grant) if unknown_project else ()
        return (
            f"The workload {need.reason}.{who}{assumed}",
            *unknown,
            *admission_lines(grant.refusal),
        )

    def _unknown_project(self, project_id: str, grant: SuggestedGrant | None = None) -> tuple[str, ...]:
        if self._declared.project_on(project_id):
            return ()
        name = self._declared.project_name(project_id)
        command = ""
        if grant and grant.member:
            need = grant.need
            granted = binding_command(need.target, need.access.role, grant.member, need.condition)
            command = f" Without one: {granted}"
        return (f"No ManagedProject of project {project_id} is known; it is assumed to be {name}.{command}",)

    def _name(self, suggestion: Suggestion, grant: SuggestedGrant) -> str:
        """Return a name that no IAMBinding of the namespace has."""
        target, condition = grant.need.target, grant.need.condition
        is_agent = grant.need.access.holder is Holder.SERVICE_AGENT
        who = "run-agent" if is_agent else suggestion.account.partition("@")[0]
        role = grant.need.access.role.rpartition(".")[2]
        of = () if target.is_project else (target.location, target.parent, target.name)
        parts = (who, kind_words(target.kind), *of, role, condition.title if condition else "")
        for number in ("", *map(str, range(2, 1000))):
            name = object_name(*parts, number)
            key = (suggestion.namespace, name)
            if key not in self._names and not self._declared.exists(IAMBinding, *key):
                self._names.add(key)
                break
        return name

    def _manifest(self, kind: str, name: str, namespace: str, project_id: str, spec: Manifest) -> Manifest:
        project = {"projectRef": {"name": self._declared.project_name(project_id)}}
        metadata = {"name": name, "namespace": namespace}
        return {
            "apiVersion": API_VERSION,
            "kind": kind,
            "metadata": metadata,
            "spec": {**project, **spec},
        }


def described(workloads: Iterable[Workload]) -> str:
    """Return workloads as prose."""
    return ", ".join(map(str, workloads))


def _note_lines(suggestion: Suggestion, text: str, command: str) -> Iterator[str]:
    yield f"Note on {described(suggestion.workloads)}: {text}"
    if command:
        yield f"  {command}"


def _commented(lines: Iterable[str], indent: str = "") -> Iterator[str]:
    """Yield comments. Line breaks within a line would end it, and add to the manifest."""
    for line in lines:
        yield f"{indent}# {' '.join(line.splitlines())}\n"


def _dumped(value: object) -> str:
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=100)
