"""The API group and the keys that live under its name."""

from typing import Final

GROUP: Final = "cloudrun-identity.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = "cloudrun-identity.dev/v1alpha1"
CATEGORY: Final = "cloudrun"
"""The category of every kind: `kubectl get cloudrun` lists them all."""

FINALIZER: Final = "cloudrun-identity.dev/finalizer"
"""Held by every object until what it caused in Google Cloud is undone."""

RECONCILE_REQUESTED_AT: Final = "cloudrun-identity.dev/reconcile-requested-at"
"""Annotation: any new value asks for a fresh pass; `status.lastHandledReconcileAt` echoes it."""

FORCE_DELETE: Final = "cloudrun-identity.dev/force-delete"
"""Annotation: with the value `true` an identity that is in use is abandoned instead of waited for."""

TOKEN_BOUND: Final = 256
"""Characters of that token that count: as many as the status echoes."""
