"""The dry run: what applying manifests would change in Google Cloud, without a write.

`dry_run` composes the operator's own reconcile over objects in memory. Two parts differ from production: the
executor assumes the effect of each action (`dry_run_executor`), and policies are written in memory
(`dry_run_policies`). `cluster_plan` loads the objects and ledgers of a cluster (`cluster_objects`), and
merges the manifests into them (`applied`).
"""
