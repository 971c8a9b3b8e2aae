"""Objects of the `syncers` benchmark: many IAMBindings with one member each, spread over projects."""

from dataclasses import dataclass
from pathlib import Path

import yaml

from cloudrun_identity.api.group import API_VERSION
from cloudrun_identity.kube.resources import Object

NAMESPACE = "bindings"
ROLE = "roles/cloudsql.client"
UNMANAGED_PROJECT_ID = "acme-unmanaged"
"""A project without a ManagedProject."""

_UNMANAGED_OWNERS = ["user:dana@example.com", "group:platform@example.com"]


@dataclass(frozen=True, slots=True)
class Bindings:
    """`size` IAMBindings, evenly spread over the policies of `policies` projects."""

    size: int
    policies: int

    @property
    def project_ids(self) -> tuple[str, ...]:
        """Return the projects of the policies."""
        return tuple(f"acme-bench-{number:03}" for number in range(self.policies))

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
                            {"roles": [ROLE], "targetKinds": ["Project"], "members": ["user:*@example.com"]}
                        ]
                    },
                },
            }
            for project_id in self.project_ids
        ]

    def objects(self) -> list[Object]:
        """Return the IAMBindings. Their members are users, because a policy may have only 250 groups."""
        return [
            {
                "apiVersion": API_VERSION,
                "kind": "IAMBinding",
                "metadata": {"name": f"person-{number:05}", "namespace": NAMESPACE},
                "spec": {
                    "projectRef": {"name": self.project_ids[number % self.policies]},
                    "target": {"kind": "Project"},
                    "role": ROLE,
                    "members": [{"principal": member(number)}],
                },
            }
            for number in range(self.size)
        ]

    def write_seed(self, path: Path) -> None:
        """Write the seed of the emulator: projects whose policies have unmanaged members."""
        projects = [
            {"projectID": project_id, "policy": [{"role": "roles/owner", "members": _UNMANAGED_OWNERS}]}
            for project_id in (*self.project_ids, UNMANAGED_PROJECT_ID)
        ]
        path.write_text(yaml.safe_dump({"projects": projects}))


def member(number: int) -> str:
    """Return the member of the object with this number."""
    return f"user:person-{number:05}@example.com"
