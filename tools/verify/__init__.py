"""Checks in a real project that Google Cloud behaves as the operator relies on: `make verify PROJECT=ID`.

`docs/how-to/verify.md` describes the command. It is not in the image.

beliefs, catalog
    The form of a belief about Google Cloud, and the list of all beliefs.
checks
    The checks, one module per group of beliefs.
sandbox, workloads
    Temporary resources in the project, and the clients.
cleanup
    Removal of these resources, also those of an earlier run.
runner, report
    The run of the checks, and its report.
"""
