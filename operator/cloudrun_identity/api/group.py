"""The API group, and the finalizer and annotations under its name."""

from typing import Final

GROUP: Final = "cloudrun-identity.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = "cloudrun-identity.dev/v1alpha1"
CATEGORY: Final = "cloudrun"
"""Category of the kinds that users write in a namespace: `kubectl get cloudrun` lists their objects."""
ADMIN_CATEGORY: Final = "cloudrun-admin"
"""Category of the kinds that only the platform team may list.

kubectl lists each kind of a category, and prints an error for each kind that the user may not list.
"""

FINALIZER: Final = "cloudrun-identity.dev/finalizer"
"""Finalizer of every object. The operator removes it after it has cleaned up Google Cloud."""

RECONCILE_REQUESTED_AT: Final = "cloudrun-identity.dev/reconcile-requested-at"
"""Annotation: a new value requests a reconcile. `status.lastHandledReconcileAt` echoes the value."""

FORCE_DELETE: Final = "cloudrun-identity.dev/force-delete"
"""Annotation: with the value `true`, deletion abandons an identity that is in use instead of waiting."""

RELEASE_ORPHANS: Final = "cloudrun-identity.dev/release-orphans"
"""Annotation of a ManagedProject: the deleted objects to release, as patterns of KIND/NAMESPACE/NAME,
separated by commas."""

LEFT_BY: Final = "cloudrun-identity.dev/left-by"
"""Annotation of a Secret: the name of the deleted IdentityKey that left it. An object of the same name takes
the Secret back."""

TOKEN_BOUND: Final = 256
"""Number of characters of the annotation's value that count. The status echoes as many."""
