"""The generic reconcile that drives every kind: from the gate to the status."""
