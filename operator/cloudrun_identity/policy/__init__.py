"""Grants on IAM policies: one lane a policy, which reads once and writes once for all who declare on it.

What a pass decides is pure, and stands in `cloudrun_identity.iam`; here is what carries it out.
"""
