"""Embedded Kubernetes API server, in memory and on loopback, for kubectl, kopf and other clients.

Supported: discovery, OpenAPI v3, lists with pages and selectors, watches with bookmarks, tables, all four
patch formats, server-side apply, dry runs, field validation, finalizers, and custom resources with structural
schemas, defaults, pruning, CEL rules, printer columns and status; Namespaces, Secrets, ConfigMaps,
ServiceAccounts, Events, Leases, CustomResourceDefinitions and SelfSubjectAccessReviews (which allow all).

Not supported: RBAC (the only token is allowed everything), garbage collection (owner references are stored,
dependents remain), admission webhooks and policies, conversion between versions, workloads, streaming lists
(`sendInitialEvents`), the `scale` subresource, type checks and cost estimates of CEL rules.
"""

from .server import KubeApi

__all__ = ["KubeApi"]
