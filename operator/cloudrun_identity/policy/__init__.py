"""The IAM policy engine: it keeps IAM policies in sync with the grants that objects declare.

`syncers` is the entry point, and `registrations` holds the desired grants of all objects (`desired_grants`).
One `syncer` per policy runs one sync at a time for all objects with grants on it. Requests that arrive during
a sync, or within the batch window, share the next sync. A sync (`sync`) has five parts:

1. Read the policy once (`bound_policies`).
2. Plan: compare the ledger, the desired grants and the grants that are present. `sync_planner` plans for the
   resource that has the name of the target now. `planning` and `review` compute the plan, as pure functions;
   `steps` has its steps.
3. Record the plan and the write in the ledger, ahead of the policy (`recording`, `pending_write`).
4. Write the policy once (`writer`, `merge`). After an etag conflict, read again and merge again. If Google
   Cloud refuses a grant, find it by bisection (`bisection`) and write the others.
5. Settle the ledger (`settlement`) with the grants that are present after the write. `results` has the result
   for each grant, each policy and each object.

The reply to a write is the truth, and a policy may show a member under another address than the operator
wrote. `registered_forms` has the rules, and `shown_forms` applies them during one sync. `renames` are new
addresses without a write. `tombstones` are the forms of deleted members. `interrupted_write` judges a write
with an unknown outcome by the members that appeared since (`members_before`).

Limits: a refused grant is retried alone, after its own backoff (`backoff`). Full policies and full ledgers
refuse the newest grants (`capacity`, `usage`), and a namespace cannot use up what is set aside for others
(`policy_shares`). Removals of unmanaged members from an exclusive binding (`exclusive`) obey an hourly limit
(`removal_limit`). `temporary_grants` decides which grants are over. `left_grants` records grants of custom
roles that stay after their release.
"""
