"""IdentityAttachment: a workload is reassigned to its identity, after preflight checks, and kept there."""
