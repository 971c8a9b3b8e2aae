"""Kubernetes for the controllers: status, finalizers, events, ledgers, the lease."""
