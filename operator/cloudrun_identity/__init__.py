"""A Kubernetes operator for Cloud Run identities."""

__version__ = "0.1.0a1"
