"""Objects of the `keys` benchmark: identities with four IdentityKeys each, and identities without keys."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import yaml

from cloudrun_identity.api.group import API_VERSION, RECONCILE_REQUESTED_AT
from cloudrun_identity.kube.resources import Object

NAMESPACE = PROJECT = "keys"
PROJECT_ID = "acme-keys"
KEYS_EACH = 4
"""Keys per identity: eight exist during a rotation, and Google Cloud allows ten."""
KEYLESS = 25
"""Identities without a key, which ignore unmanaged keys."""

PERIOD, OVERLAP = timedelta(days=30), timedelta(days=1)


@dataclass(frozen=True, slots=True)
class KeyObjects:
    """`size` IdentityKeys, four per identity, and some identities without keys."""

    size: int

    @property
    def with_keys(self) -> int:
        """Return the number of identities with keys."""
        return -(-self.size // KEYS_EACH)

    def write_seed(self, path: Path) -> None:
        """Write the seed of the emulator: a project with a quota for the accounts."""
        project = {"projectID": PROJECT_ID, "quotas": {"serviceAccounts": self.with_keys + KEYLESS}}
        path.write_text(yaml.safe_dump({"projects": [project]}))

    def project(self, drift_interval: str) -> Object:
        """Return the ManagedProject that admits the keys."""
        spec = {
            "projectID": PROJECT_ID,
            "driftInterval": drift_interval,
            "locations": ["europe-west1"],
            "namespaces": {"names": [NAMESPACE]},
            "guardrails": {"keys": "Allowed"},
        }
        return {
            "apiVersion": API_VERSION,
            "kind": "ManagedProject",
            "metadata": {"name": PROJECT},
            "spec": spec,
        }

    def identities(self) -> list[Object]:
        """Return the CloudRunIdentities."""
        with_keys = [_object("CloudRunIdentity", _identity(number)) for number in range(self.with_keys)]
        keyless = [
            _object("CloudRunIdentity", f"keyless-{number:03}", unmanagedKeys="Ignore")
            for number in range(KEYLESS)
        ]
        return with_keys + keyless

    def objects(self, *, requested_at: str = "") -> list[Object]:
        """Return the IdentityKeys. A new value of `requested_at` requests a reconcile of each."""
        keys = [
            _object(
                "IdentityKey",
                f"key-{number:03}",
                identityRef={"name": _identity(number // KEYS_EACH)},
                secretName=f"key-{number:03}",
                rotation={"period": _hours(PERIOD), "overlap": _hours(OVERLAP)},
            )
            for number in range(self.size)
        ]
        for key in keys if requested_at else ():
            key["metadata"]["annotations"] = {RECONCILE_REQUESTED_AT: requested_at}
        return keys


def _hours(time: timedelta) -> str:
    return f"{time // timedelta(hours=1)}h"


def _identity(number: int) -> str:
    return f"runner-{number:03}"


def _object(kind: str, name: str, **spec: object) -> Object:
    metadata = {"name": name, "namespace": NAMESPACE}
    return {
        "apiVersion": API_VERSION,
        "kind": kind,
        "metadata": metadata,
        "spec": {"projectRef": {"name": PROJECT}, **spec},
    }
