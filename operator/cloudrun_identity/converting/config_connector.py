"""Reads manifests of Config Connector.

The fields of each kind: https://cloud.google.com/config-connector/docs/reference/overview. The project of an
object: https://cloud.google.com/config-connector/docs/how-to/organizing-resources/project-scoped-resources.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cloudrun_identity.api import TargetKind, WorkloadKind
from cloudrun_identity.exporting.selection import LeftOut
from cloudrun_identity.exporting.survey import DeclaredKey
from cloudrun_identity.gcp.custom_roles import CustomRoleState
from cloudrun_identity.gcp.service_accounts import ServiceAccount, expected_email
from cloudrun_identity.gcp.workloads import Workload
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.iam.principals import service_account_member

from .declarations import (
    AUTHORITATIVE_POLICY,
    Binding,
    Conversion,
    Declarations,
    Source,
    Tool,
    condition_in,
    running_as,
)
from .target_names import target_named

Fields = Mapping[str, Any]

GROUP_SUFFIX = ".cnrm.cloud.google.com"
"""End of the API groups of Config Connector's kinds."""

PROJECT_ANNOTATION = "cnrm.cloud.google.com/project-id"
"""Annotation of an object or of its namespace that names the project."""

ORGANIZATION_ANNOTATION = "cnrm.cloud.google.com/organization-id"
"""Annotation of an object that belongs to an organization instead of a project."""


@dataclass(frozen=True, slots=True)
class ConnectorObject:
    """A manifest."""

    group: str
    """API group."""
    kind: str
    """Kind."""
    namespace: str
    """Namespace; empty if the manifest sets none."""
    name: str
    """Name."""
    raw: Fields
    """Manifest."""

    @property
    def spec(self) -> Fields:
        """The spec."""
        return _mapping(self.raw.get("spec"))

    @property
    def annotations(self) -> Fields:
        """The annotations."""
        return _mapping(_mapping(self.raw.get("metadata")).get("annotations"))

    @property
    def resource_id(self) -> str:
        """The name of the resource in Google Cloud."""
        return str(self.spec.get("resourceID") or self.name)

    def source(self, conversion: Conversion = Conversion.HANDED_OVER) -> Source:
        """Return the object as the source of what it declares."""
        address = f"{self.kind.lower()}.{self.group}/{self.name}"
        return Source(Tool.CONFIG_CONNECTOR, address, self.namespace, conversion)


def object_in(document: Fields) -> ConnectorObject:
    """Return the object in a manifest."""
    metadata = _mapping(document.get("metadata"))
    return ConnectorObject(
        str(document.get("apiVersion", "")).partition("/")[0],
        str(document.get("kind", "")),
        str(metadata.get("namespace") or ""),
        str(metadata.get("name") or ""),
        document,
    )


def is_connector_object(document: object) -> bool:
    """Return whether a document is a manifest of Config Connector."""
    group = str(document.get("apiVersion", "")).partition("/")[0] if isinstance(document, dict) else ""
    return group.endswith(GROUP_SUFFIX)


def read_objects(documents: Iterable[Fields], project_id: str, into: Declarations) -> None:
    """Read manifests of Config Connector and of namespaces.

    `project_id` is the project of objects whose manifests and namespaces name none.
    """
    _Reader(map(object_in, documents), project_id, into).read()


class _Reader:
    """Reads objects that refer to each other."""

    def __init__(self, objects: Iterable[ConnectorObject], project_id: str, into: Declarations) -> None:
        self._objects = {(each.kind, each.namespace, each.name): each for each in objects}
        self._project_id = project_id
        self._into = into
        self._readers: Mapping[str, Callable[[ConnectorObject], None]] = {
            "IAMServiceAccount": self._account,
            "IAMServiceAccountKey": self._key,
            "IAMCustomRole": self._role,
            "IAMPolicyMember": self._member,
            "IAMPartialPolicy": self._partial_policy,
            "IAMPolicy": self._policy,
            **dict.fromkeys(_WORKLOADS, self._workload),
        }

    def read(self) -> None:
        """Read all objects."""
        for obj in self._objects.values():
            try:
                if read := self._readers.get(obj.kind):
                    read(obj)
                elif obj.group == f"iam{GROUP_SUFFIX}":
                    self._into.leave_out(obj.source(), "the operator does not manage this kind")
            except ValueError as error:
                self._into.leave_out(obj.source(), str(error))

    def _account(self, obj: ConnectorObject) -> None:
        email = self._email(obj)
        account = ServiceAccount(
            self._project(obj),
            email,
            str(_mapping(obj.raw.get("status")).get("uniqueId") or ""),
            str(obj.spec.get("displayName") or ""),
            str(obj.spec.get("description") or ""),
            bool(obj.spec.get("disabled")),
        )
        self._into.add(obj.source(), account)

    def _key(self, obj: ConnectorObject) -> None:
        account = self._target(
            obj, {"kind": "IAMServiceAccount", **_mapping(obj.spec.get("serviceAccountRef"))}
        )
        self._into.add(obj.source(Conversion.REPLACED), DeclaredKey(obj.name, account.name))

    def _role(self, obj: ConnectorObject) -> None:
        if obj.annotations.get(ORGANIZATION_ANNOTATION):
            raise ValueError("a role of an organization; a CustomRole is a role of a project")
        role = CustomRoleState(
            f"projects/{self._project(obj)}/roles/{obj.resource_id}",
            str(obj.spec.get("title") or ""),
            str(obj.spec.get("description") or ""),
            str(obj.spec.get("stage") or "GA"),
            frozenset(_texts(obj.spec, "permissions")),
            b"",
        )
        self._into.add(obj.source(), role)

    def _workload(self, obj: ConnectorObject) -> None:
        kind = _WORKLOADS[obj.kind]
        template = _mapping(obj.spec.get("template"))
        if kind is WorkloadKind.JOB:
            template = _mapping(template.get("template"))
        ref = _mapping(template.get("serviceAccountRef"))
        account = self._target(obj, {"kind": "IAMServiceAccount", **ref}).name if ref else ""
        workload = Workload(kind, self._project(obj), str(obj.spec.get("location") or ""), obj.resource_id)
        self._into.add(obj.source(Conversion.SHARED), running_as(workload, account))

    def _member(self, obj: ConnectorObject) -> None:
        self._bindings(obj, [{**obj.spec, "members": [obj.spec]}])

    def _partial_policy(self, obj: ConnectorObject) -> None:
        self._bindings(obj, _mappings(obj.spec, "bindings"))

    def _policy(self, obj: ConnectorObject) -> None:
        bindings = [
            {**binding, "members": [{"member": member} for member in _texts(binding, "members")]}
            for binding in _mappings(obj.spec, "bindings")
        ]
        self._bindings(obj, bindings)
        self._into.notes.append(LeftOut(str(obj.source()), AUTHORITATIVE_POLICY))
        if obj.spec.get("auditConfigs"):
            self._into.leave_out(obj.source(), "the operator does not manage auditConfigs")

    def _bindings(self, obj: ConnectorObject, bindings: Iterable[Fields]) -> None:
        target = self._target(obj, _mapping(obj.spec.get("resourceRef")))
        for binding in bindings:
            role = str(binding.get("role") or "")
            if not role:
                raise ValueError("a binding has no role")
            members = tuple(self._members(obj, _mappings(binding, "members")))
            condition = condition_in(_mapping(binding.get("condition")))
            found = Binding(target, role, members, condition)
            self._into.add(obj.source(), *found.grants())

    def _members(self, obj: ConnectorObject, members: Iterable[Fields]) -> Iterator[str]:
        for each in members:
            reference = _mapping(_mapping(each.get("memberFrom")).get("serviceAccountRef"))
            if each.get("member"):
                yield str(each["member"])
            elif reference:
                yield service_account_member(
                    self._target(obj, {"kind": "IAMServiceAccount", **reference}).name
                )
            else:
                used = ", ".join(_mapping(each.get("memberFrom"))) or "no member"
                self._into.leave_out(obj.source(), f"memberFrom has {used}; name the member in an IAMBinding")

    def _target(self, obj: ConnectorObject, reference: Fields) -> Target:
        """Return the resource that an object refers to."""
        kind = str(reference.get("kind") or "")
        target_kind = _TARGETS.get(kind)
        if target_kind is None:
            raise ValueError(f"the operator does not manage grants on the kind {kind}")
        project_id = self._project(obj)
        if external := str(reference.get("external") or ""):
            return target_named(target_kind, external, project_id)
        name = str(reference.get("name") or "")
        if target_kind is TargetKind.PROJECT and not name:
            return Target.project(project_id)
        namespace = str(reference.get("namespace") or obj.namespace)
        referred = self._objects.get((kind, namespace, name))
        if referred is None:
            wanted = f"{kind} {namespace}/{name}" if namespace else f"{kind} {name}"
            raise ValueError(
                f"it refers to {wanted}, which is in none of the files; add it, or use `external`"
            )
        return self._target_of(referred, target_kind)

    def _target_of(self, obj: ConnectorObject, kind: TargetKind) -> Target:
        if kind is TargetKind.PROJECT:
            return Target.project(obj.resource_id)
        if kind is TargetKind.SERVICE_ACCOUNT:
            return Target.service_account(self._project(obj), self._email(obj))
        parent = location = ""
        if reference := next((obj.spec[each] for each in _PARENTS if obj.spec.get(each)), None):
            parent_kind = _PARENTS[next(each for each in _PARENTS if obj.spec.get(each))]
            found = self._target(obj, {"kind": parent_kind, **_mapping(reference)})
            parent, location = found.name, found.location
        location = str(obj.spec.get("location") or location)
        return target_named(kind, obj.resource_id, self._project(obj), location, parent)

    def _email(self, obj: ConnectorObject) -> str:
        return str(_mapping(obj.raw.get("status")).get("email") or "") or expected_email(
            self._project(obj), obj.resource_id
        )

    def _project(self, obj: ConnectorObject) -> str:
        """Return the project of an object, as Config Connector finds it."""
        reference = _mapping(obj.spec.get("projectRef"))
        if external := str(reference.get("external") or ""):
            return external.rpartition("/")[2]
        if name := str(reference.get("name") or ""):
            project = self._objects.get(("Project", str(reference.get("namespace") or obj.namespace), name))
            return project.resource_id if project else name
        namespace = self._objects.get(("Namespace", "", obj.namespace))
        named = obj.annotations.get(PROJECT_ANNOTATION) or (
            namespace and namespace.annotations.get(PROJECT_ANNOTATION)
        )
        found = str(named or "") or self._project_id or obj.namespace
        if not found:
            raise ValueError(f"no project: set the annotation {PROJECT_ANNOTATION}, or use --project")
        return found


def _mapping(value: object) -> Fields:
    return value if isinstance(value, dict) else {}


def _mappings(fields: Fields, name: str) -> list[Fields]:
    """Return a field that is a list of objects; empty if it is not set."""
    listed = fields.get(name) or []
    if not isinstance(listed, list) or not all(isinstance(each, dict) for each in listed):
        raise ValueError(f"{name} is not a list of objects")
    return listed


def _texts(fields: Fields, name: str) -> list[str]:
    """Return a field that is a list of strings; empty if it is not set."""
    listed = fields.get(name) or []
    if not isinstance(listed, list) or not all(isinstance(each, str) for each in listed):
        raise ValueError(f"{name} is not a list of strings")
    return listed


_TARGETS = {
    "Project": TargetKind.PROJECT,
    "IAMServiceAccount": TargetKind.SERVICE_ACCOUNT,
    "RunService": TargetKind.SERVICE,
    "RunJob": TargetKind.JOB,
    "RunWorkerPool": TargetKind.WORKER_POOL,
    "SecretManagerSecret": TargetKind.SECRET,
    "StorageBucket": TargetKind.STORAGE_BUCKET,
    "PubSubTopic": TargetKind.PUB_SUB_TOPIC,
    "PubSubSubscription": TargetKind.PUB_SUB_SUBSCRIPTION,
    "ArtifactRegistryRepository": TargetKind.ARTIFACT_REGISTRY_REPOSITORY,
    "CloudTasksQueue": TargetKind.CLOUD_TASKS_QUEUE,
    "KMSKeyRing": TargetKind.KMS_KEY_RING,
    "KMSCryptoKey": TargetKind.KMS_CRYPTO_KEY,
    "SpannerInstance": TargetKind.SPANNER_INSTANCE,
    "SpannerDatabase": TargetKind.SPANNER_DATABASE,
    "BigtableInstance": TargetKind.BIGTABLE_INSTANCE,
    "Folder": TargetKind.FOLDER,
    "Organization": TargetKind.ORGANIZATION,
}
"""Target kinds by Config Connector's kinds."""

_WORKLOADS = {
    "RunService": WorkloadKind.SERVICE,
    "RunJob": WorkloadKind.JOB,
    "RunWorkerPool": WorkloadKind.WORKER_POOL,
}

_PARENTS = {"keyRingRef": "KMSKeyRing", "instanceRef": "SpannerInstance"}
"""Kinds of containing resources by the field that refers to them."""
