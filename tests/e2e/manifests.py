"""Manifests that many tests apply."""

VIEWERS = """
kind: IAMBinding
metadata: {name: viewers}
spec:
  target: {kind: Project}
  role: roles/viewer
  members: [{principal: "group:ops@example.com"}]
"""
