"""Checks of manifests without a cluster, credentials or a connection: `cloudrun-identity lint`."""
