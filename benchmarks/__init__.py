"""What the operator costs, in calls, writes, seconds and memory: `python -m benchmarks`, or `make bench`."""
