"""The IAM policy engine: it keeps IAM policies in sync with the grants that objects declare.

One `PolicySyncer` per policy runs one sync at a time for all objects with grants on it. Requests that arrive
during a sync, or within the batch window, share the next sync. A sync (`sync`) has five parts:

1. Read the policy once.
2. Plan (`planning`, pure): compare the ledger, the desired grants and the grants that are present.
3. Record the plan and the write in the ledger, ahead of the policy (`recording`, `pending_write`).
4. Write the policy once (`writer`, `merge`). After an etag conflict, read again and merge again. If Google
   Cloud refuses a grant, find it by bisection (`bisection`) and write the others.
5. Settle the ledger (`settlement`) with the grants that are present after the write.

The reply to a write is the truth. A member may appear in it under another address (`registered_forms`,
`renames`), or as deleted (`tombstones`).

A refused grant is retried alone, after its own backoff (`backoff`). Removals of unmanaged members from an
exclusive binding obey an hourly limit (`exclusive`). Full policies and full ledgers refuse the newest grants
(`capacity`). `PolicySyncers` is the entry point; `registrations` holds the desired grants of all objects.
"""
