"""From the grants in a spec to the grants that the policy engine syncs.

`members`, `targets` and `roles` resolve references, `resolver` checks the guardrails, `release` releases
grants, `public_services` detects roles without effect.
"""
