"""The process that runs the controllers.

| module | content |
|---|---|
| `process` | the life of the process: connections, leader election, restarts, shutdown |
| `factory` | the composition root: `build_manager` for the process, `compose` for the engine |
| `registry` | the table of kinds, and how their controllers are built |
| `engine` | the composed parts that a process and a dry run share |
| `manager` | the manager of one leader: fills the cache, starts, takes in watch events, drains |
| `kopf_adapter` | private names and undocumented behavior of kopf |
| `cache` | updates of the cache, and the reconciles that a change requires |
| `cluster_view` | the read side of the cache: objects, namespaces, projects |
| `ledger_view` | the read side of the cache: accounts, roles, keys and grants in the ledgers |
| `object_index` | objects by name, kind, reference and declared resource |
| `namespaces` | namespaces, and which of them a project admits |
| `change_predicates` | whether a new version of an object requires reconciles |
| `project_settings` | settings of projects: credentials, suspension, limits, resync interval |
| `work_queue` | keys that wait for a reconcile, with priorities and backoff; namespaces take turns |
| `slots` | slots for concurrent reconciles, with a maximum per namespace |
| `workers` | concurrent reconciles |
| `memory` | garbage collection, and the allocator |
| `resync` | periodic drift detection |
| `kubernetes` | counted writes to the Kubernetes API |
| `health`, `metrics`, `logs` | probes, Prometheus metrics and structured logs |
| `hooks` | test hooks: crash points and an adjustable clock for keys |
"""
