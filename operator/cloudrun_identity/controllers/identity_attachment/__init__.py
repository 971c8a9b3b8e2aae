"""IdentityAttachment: a workload is moved to its identity, after a look at what it takes, and kept there."""
