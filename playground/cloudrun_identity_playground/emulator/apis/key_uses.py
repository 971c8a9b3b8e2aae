"""Uses of service accounts and their keys, from which Policy Analyzer and Monitoring answer.

A use is recorded by `edits`, and becomes visible in each API after its delay.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from cloudrun_identity_playground.emulator.errors import not_found
from cloudrun_identity_playground.emulator.switches import Switches

from .accounts import Account, AccountStore
from .projects import Project

_REMEMBERED = 10_000


@dataclass(frozen=True)
class Used:
    """An account or one of its keys, and when it was used."""

    account: Account
    key_id: str
    """ID of the key; empty for the account itself."""
    times: tuple[float, ...]
    """Seconds since the epoch, in order."""

    @property
    def name(self) -> str:
        """Resource name of the account or the key."""
        return f"{self.account.name}/keys/{self.key_id}" if self.key_id else self.account.name


class KeyUses:
    """Every recorded use. `clock` returns seconds since the epoch."""

    def __init__(self, accounts: AccountStore, switches: Switches, clock: Callable[[], float]) -> None:
        self._accounts = accounts
        self._switches = switches
        self._clock = clock
        self._times: defaultdict[tuple[str, str], deque[float]] = defaultdict(
            lambda: deque(maxlen=_REMEMBERED)
        )

    @property
    def now(self) -> float:
        """Time by the clock of both APIs, which the switch `lastUseAhead` sets ahead."""
        return self._clock() + self._switches.last_use_ahead.total_seconds()

    def add(self, name: str, at: datetime | None) -> None:
        """Record that the account or key `name` is used `at` this time, or now. A key's use is the account's.

        Raises GoogleError: NOT_FOUND.
        """
        account_name, _, key_id = name.partition("/keys/")
        account = self._accounts.find(account_name)
        if key_id and key_id not in account.keys:
            raise not_found(f"Service account key {key_id} does not exist.")
        time = at.timestamp() if at is not None else self.now
        for used in {"", key_id}:
            self._times[account.unique_id, used].append(time)

    def of_keys(self, project: Project) -> Iterator[Used]:
        """Yield the used keys of a project, deleted ones included, by name."""
        yield from self._of(project, keys=True)

    def of_accounts(self, project: Project) -> Iterator[Used]:
        """Yield the used accounts of a project by name."""
        yield from self._of(project, keys=False)

    def _of(self, project: Project, *, keys: bool) -> Iterator[Used]:
        for (unique_id, key_id), times in sorted(self._times.items()):
            account = self._accounts.any(unique_id)
            if bool(key_id) == keys and account is not None and account.project is project:
                yield Used(account, key_id, tuple(sorted(times)))


def timestamp(seconds: float) -> str:
    """Return seconds since the epoch as in JSON."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"
