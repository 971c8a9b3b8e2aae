"""Deterministic simulation: the operator, Google Cloud and an API server in one process and in virtual time."""
