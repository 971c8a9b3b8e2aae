"""IAM without I/O: principals, grants, guardrails, and the merge of claims into a policy."""
