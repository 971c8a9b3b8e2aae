"""Reconcilers of kinds for tests that only index objects."""

from types import SimpleNamespace
from typing import Any

from cloudrun_identity.reconcile.kind_reconciler import KindReconciler
from cloudrun_identity.reconcile.reconciler import AnyKindReconciler


def unconnected(kind: Any) -> AnyKindReconciler:
    """Return a reconciler of the kind that cannot reconcile, because it has no dependencies."""
    nothing: Any = SimpleNamespace(syncers=None, store=None)
    return KindReconciler(kind, nothing, nothing, nothing)
