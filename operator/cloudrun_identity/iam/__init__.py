"""IAM domain rules without I/O: principals, grants, guardrails, escalation, keys and advice."""
