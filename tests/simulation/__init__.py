"""Deterministic simulation of the operator, Google Cloud and the API server: see docs/dev/simulation.md."""
