"""Manifests that many tests apply."""

VIEWERS = """
kind: IAMBinding
metadata: {name: viewers}
spec:
  target: {kind: Project}
  role: roles/viewer
  members: [{principal: "group:ops@example.com"}]
"""
IDENTITY = """
kind: CloudRunIdentity
metadata: {name: checkout}
"""
PROJECT_WITH_KEYS = """
kind: ManagedProject
metadata: {name: $scene}
spec:
  driftInterval: 1s
  namespaces: {names: [$scene]}
  guardrails: {keys: Allowed}
"""
