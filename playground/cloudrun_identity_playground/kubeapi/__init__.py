"""A Kubernetes-compatible API server, in memory and on loopback: enough for kubectl, kopf and the clients.

Served: discovery, OpenAPI v3, lists with pages and selectors, watches with bookmarks, tables, all four patch
formats, server-side apply, dry runs, field validation, finalizers, and custom resources with structural
schemas, defaults, pruning, CEL rules, printer columns and status; Namespaces, Secrets, ConfigMaps,
ServiceAccounts, Events, Leases, CustomResourceDefinitions and SelfSubjectAccessReviews (which allow all).

Not served: RBAC (one token may do everything), garbage collection (owner references are kept, dependants
stay), admission webhooks and policies, conversion between versions, workloads, streaming lists
(`sendInitialEvents`), the `scale` subresource, type checks and cost estimates of CEL rules.
"""

from .server import KubeApi

__all__ = ["KubeApi"]
