"""Result of a history."""

import asyncio
import hashlib
from collections import Counter
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Result:
    """Result of a history."""

    violations: list[str] = field(default_factory=list)
    """Invariants that did not hold."""
    trace: list[str] = field(default_factory=list)
    """Steps, calls, writes and lines of the operators' log, in order, with their times."""
    actions: Counter[str] = field(default_factory=Counter)
    """Number of actions by kind that were carried out, and of crashes at each checkpoint."""
    checkpoints: Counter[str] = field(default_factory=Counter)
    """Number of times that each checkpoint was reached."""
    pairs: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Number of times that a checkpoint was reached after an action, by action and checkpoint."""
    end: dict[str, Any] = field(default_factory=dict)
    """Policies, accounts and statuses at the end, without times and generated IDs."""
    seconds: float = 0.0
    """Virtual seconds that the history took."""

    def digest(self) -> str:
        """Return a digest of the trace."""
        return hashlib.sha256("\n".join(self.trace).encode()).hexdigest()

    def violated(self, what: str) -> None:
        """Report that an invariant did not hold."""
        self.violations.append(what)
        self.note(f"VIOLATION {what}")

    def note(self, what: str) -> None:
        """Add a line to the trace."""
        try:
            now = asyncio.get_running_loop().time()
        except RuntimeError:
            now = 0.0
        self.trace.append(f"{now:9.2f} {what}")
