"""Objects of the `lifecycle` benchmark: many identities in one project, each with three roles on it."""

from dataclasses import dataclass
from pathlib import Path

import yaml

from cloudrun_identity.api.group import API_VERSION
from cloudrun_identity.kube.resources import Object

ROLES = ("roles/cloudsql.client", "roles/storage.objectViewer", "roles/logging.logWriter")
NAMESPACE = "fleet"
PROJECT = "fleet"
PROJECT_ID = "acme-fleet"
POLICY = f"//cloudresourcemanager.googleapis.com/projects/{PROJECT_ID}"

_UNMANAGED_OWNERS = ["user:dana@example.com", "group:platform@example.com"]


@dataclass(frozen=True, slots=True)
class Fleet:
    """`size` CloudRunIdentities."""

    size: int

    @property
    def grants(self) -> int:
        """Return the number of grants on the project."""
        return self.size * len(ROLES)

    @property
    def members(self) -> tuple[str, ...]:
        """Return the accounts of the identities as policy members."""
        return tuple(
            f"serviceAccount:{name}@{PROJECT_ID}.iam.gserviceaccount.com" for name in self._account_ids
        )

    def project(self, drift_interval: str) -> Object:
        """Return the ManagedProject that admits the identities and their roles."""
        return {
            "apiVersion": API_VERSION,
            "kind": "ManagedProject",
            "metadata": {"name": PROJECT},
            "spec": {
                "projectID": PROJECT_ID,
                "driftInterval": drift_interval,
                "locations": ["europe-west1"],
                "namespaces": {"names": [NAMESPACE]},
                "guardrails": {
                    "grants": [{"roles": list(ROLES), "targetKinds": ["Project"], "members": ["identities"]}]
                },
            },
        }

    def identities(self) -> list[Object]:
        """Return the CloudRunIdentities."""
        return [
            {
                "apiVersion": API_VERSION,
                "kind": "CloudRunIdentity",
                "metadata": {"name": name, "namespace": NAMESPACE},
                "spec": {
                    "projectRef": {"name": PROJECT},
                    "displayName": f"Benchmark {name}",
                    "roles": [{"role": role} for role in ROLES],
                },
            }
            for name in self._account_ids
        ]

    def write_seed(self, path: Path) -> None:
        """Write the seed of the emulator: a quota for the accounts, and a policy with unmanaged members."""
        project = {
            "projectID": PROJECT_ID,
            "quotas": {"serviceAccounts": self.size},
            "policy": [{"role": "roles/owner", "members": _UNMANAGED_OWNERS}],
        }
        path.write_text(yaml.safe_dump({"projects": [project]}))

    @property
    def _account_ids(self) -> tuple[str, ...]:
        return tuple(f"runner-{number:04}" for number in range(self.size))
