"""Objects of the `syncers` benchmark: many IAMBindings of one member each, over projects or buckets."""

from dataclasses import dataclass
from pathlib import Path

import yaml

from cloudrun_identity.api import TargetKind
from cloudrun_identity.api.group import API_VERSION
from cloudrun_identity.kube.resources import Object

NAMESPACE = "bindings"
ROLE = "roles/cloudsql.client"
"""The role of all bindings on projects."""

_ROLES = {TargetKind.PROJECT: ROLE, TargetKind.STORAGE_BUCKET: "roles/storage.objectViewer"}
UNMANAGED_PROJECT_ID = "acme-unmanaged"
"""A project without a ManagedProject."""

_UNMANAGED_OWNERS = ["user:dana@example.com", "group:platform@example.com"]


@dataclass(frozen=True, slots=True)
class Bindings:
    """`size` IAMBindings, evenly spread over the policies of `policies` projects, or of buckets of one."""

    size: int
    policies: int
    kind: TargetKind = TargetKind.PROJECT

    @property
    def project_ids(self) -> tuple[str, ...]:
        """Return the projects of the policies."""
        projects = self.policies if self.kind is TargetKind.PROJECT else 1
        return tuple(f"acme-bench-{number:03}" for number in range(projects))

    @property
    def buckets(self) -> tuple[str, ...]:
        """Return the buckets of the policies; none for policies of projects."""
        names = tuple(f"acme-bench-bucket-{number:03}" for number in range(self.policies))
        return names if self.kind is TargetKind.STORAGE_BUCKET else ()

    def _target(self, number: int) -> Object:
        names = {"name": self.buckets[number % self.policies]} if self.buckets else {}
        return {"kind": self.kind.value, **names}

    def projects(self, drift_interval: str) -> list[Object]:
        """Return the ManagedProjects that admit the bindings."""
        return [
            {
                "apiVersion": API_VERSION,
                "kind": "ManagedProject",
                "metadata": {"name": project_id},
                "spec": {
                    "driftInterval": drift_interval,
                    "locations": ["europe-west1"],
                    "namespaces": {"names": [NAMESPACE]},
                    "guardrails": {
                        "grants": [
                            {
                                "roles": [_ROLES[self.kind]],
                                "targetKinds": [self.kind.value],
                                "members": ["user:*@example.com"],
                                **({"names": ["acme-bench-*"]} if self.buckets else {}),
                            }
                        ]
                    },
                },
            }
            for project_id in self.project_ids
        ]

    def objects(self) -> list[Object]:
        """Return the IAMBindings. Their members are users, because a policy may have only 250 groups."""
        return [self._object(number, member(number)) for number in range(self.size)]

    def edited(self, count: int) -> list[Object]:
        """Return the first bindings with other members."""
        return [self._object(number, member(self.size + number)) for number in range(min(count, self.size))]

    def _object(self, number: int, principal: str) -> Object:
        return {
            "apiVersion": API_VERSION,
            "kind": "IAMBinding",
            "metadata": {"name": f"person-{number:05}", "namespace": NAMESPACE},
            "spec": {
                "projectRef": {"name": self.project_ids[number % len(self.project_ids)]},
                "target": self._target(number),
                "role": _ROLES[self.kind],
                "members": [{"principal": principal}],
            },
        }

    def write_seed(self, path: Path) -> None:
        """Write the seed of the emulator: projects whose policies have unmanaged members."""
        buckets = [{"kind": TargetKind.STORAGE_BUCKET.value, "name": name} for name in self.buckets]
        projects = [
            {
                "projectID": project_id,
                "policy": [{"role": "roles/owner", "members": _UNMANAGED_OWNERS}],
                "resources": buckets if project_id in self.project_ids else [],
            }
            for project_id in (*self.project_ids, UNMANAGED_PROJECT_ID)
        ]
        path.write_text(yaml.safe_dump({"projects": projects}))


def member(number: int) -> str:
    """Return the member of the object with this number."""
    return f"user:person-{number:05}@example.com"
