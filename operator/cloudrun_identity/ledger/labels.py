"""Labels of PolicyLedger objects, for selectors of users. The operator decides nothing from them."""

import re
from typing import Final

from cloudrun_identity.api.group import GROUP
from cloudrun_identity.kube.resources import Object

from .model import Ledger

MANAGED_BY: Final = "app.kubernetes.io/managed-by"
PROJECT: Final = f"{GROUP}/project"
TARGET_KIND: Final = f"{GROUP}/target-kind"
OWNER_PREFIX: Final = f"owners.{GROUP}/"
"""Prefix of one label for each namespace of an owner. The rest of the key is the namespace."""

_VALUE: Final = re.compile(r"[A-Za-z0-9]([-._A-Za-z0-9]{0,61}[A-Za-z0-9])?")


def labelled(metadata: Object, ledger: Ledger) -> Object:
    """Return the metadata with the labels of a ledger. Labels of other clients remain.

    `app.kubernetes.io/instance` is not among the labels. Argo CD can track its resources by that label, and
    would prune the ledger: https://argo-cd.readthedocs.io/en/stable/user-guide/resource_tracking/
    """
    others = {
        key: value for key, value in metadata.get("labels", {}).items() if not key.startswith(OWNER_PREFIX)
    }
    return {**metadata, "labels": others | labels(ledger)}


def labels(ledger: Ledger) -> dict[str, str]:
    """Return the labels of a ledger. What no label can contain is left out."""
    found = {
        MANAGED_BY: "cloudrun-identity",
        PROJECT: ledger.target.project_id.replace(":", "_"),
        TARGET_KIND: str(ledger.target.kind),
    }
    owners = ledger.owner_keys | ledger.resource_owners
    namespaces = sorted({owner.split("/")[1] for owner in owners})
    found = {key: value for key, value in found.items() if _VALUE.fullmatch(value)}
    return found | {f"{OWNER_PREFIX}{each}": "" for each in namespaces if _VALUE.fullmatch(each)}
