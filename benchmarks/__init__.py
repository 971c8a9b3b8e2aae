"""Benchmarks of the operator: calls, writes, seconds and memory. `make bench` runs them."""
