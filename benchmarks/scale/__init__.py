"""The `scale` benchmark: the cost of 10,000 objects, compared with the goals.

The API server is the embedded one, and the emulator has the recorded latencies of Google Cloud. `goals.py`
has the goals. `many_policies.py` measures one fleet of 10,000 bindings on 100 policies through its life.
"""
