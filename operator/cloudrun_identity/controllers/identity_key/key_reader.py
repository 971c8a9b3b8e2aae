"""Read what the plan for the keys of one object depends on: keys, records, last uses and the Secret."""

from collections.abc import Callable, Collection
from datetime import datetime

from cloudrun_identity.controllers.new_accounts import is_fresh as is_fresh_account
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.keys import Keys
from cloudrun_identity.gcp.last_use import LastUses
from cloudrun_identity.gcp.observed_uses import Source
from cloudrun_identity.iam.listed_keys import ListedKey
from cloudrun_identity.kube.errors import KubeError
from cloudrun_identity.kube.secrets import KeySecrets
from cloudrun_identity.ledger.keys import KeyRing

from .key_records import KeyRecords
from .key_state import KeyEvidence, KeysSeen, KeyWant
from .outcomes import last_use_ignored
from .retirement import needs_evidence

FRESH = 5.0
"""Age in seconds of a list of keys that is new enough for a deletion. A write of the operator ends a list."""


class KeyReader:
    """Reads the keys of an object; raises GoogleError and KubeError."""

    def __init__(
        self,
        keys: Keys,
        secrets: KeySecrets,
        records: KeyRecords,
        now: Callable[[], datetime],
        last_uses: LastUses | None,
    ) -> None:
        """Without `last_uses`, the last uses of keys are unknown."""
        self._keys = keys
        self._secrets = secrets
        self._records = records
        self._now = now
        self._last_uses = last_uses

    async def read(self, want: KeyWant, max_age: float, publishable: Collection[str]) -> KeysSeen:
        """Return the keys as of at most `max_age` seconds ago, and the Secret as it is now.

        `publishable` are the IDs of the keys that can still be put into the Secret.
        """
        listed, account_deleted = await self.list(want, max_age)
        secret, is_forbidden = None, False
        try:
            secret = await self._secrets.get(want.owner, want.secret_name)
        except KubeError as error:
            if not error.is_forbidden:
                raise
            is_forbidden = True
        now, ring = self._now(), self._records.ring(want)
        evidence = await self._evidence(want, ring, now)
        return KeysSeen(
            now=now,
            listed=listed,
            secret=secret,
            ring=ring,
            publishable=frozenset(publishable),
            is_forbidden=is_forbidden,
            account_deleted=account_deleted,
            evidence=evidence,
        )

    async def _evidence(self, want: KeyWant, ring: KeyRing, now: datetime) -> KeyEvidence:
        """Return what Google reports about the uses of keys, from reads that all objects share."""
        if not want.reads_last_use or self._last_uses is None:
            return KeyEvidence(remedy=last_use_ignored(want))
        project_id = want.home.project_id
        analyzer = await self._last_uses.get(project_id, Source.KEYS)
        if not any(needs_evidence(each, want.rotation, now) for each in ring.of(want.name)):
            return KeyEvidence(analyzer)
        return KeyEvidence(analyzer, await self._last_uses.get(project_id, Source.KEY_EVENTS))

    async def list(self, want: KeyWant, max_age: float) -> tuple[dict[str, ListedKey], bool]:
        """Return the keys of the account, and whether a deletion found the account deleted."""
        if want.account is None or want.abandon:
            return {}, False
        try:
            age = max(max_age, FRESH) if want.deletes else max_age
            return dict(await self._keys.list(want.account.project_id, want.account_id, age)), False
        except GoogleError as error:
            error.propagating = self.is_propagation(want, error)
            if error.fault is not Fault.NOT_FOUND or not want.deletes:
                raise
            return {}, True

    def is_propagation(self, want: KeyWant, error: GoogleError) -> bool:
        """Return whether Google Cloud did not find an account that is new."""
        return error.fault is Fault.NOT_FOUND and is_fresh_account(self._records.account(want), self._now())
