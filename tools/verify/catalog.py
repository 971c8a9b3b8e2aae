"""The list of all beliefs, in the order in which they are checked and documented."""

from typing import Final

from .beliefs import Belief
from .checks.accounts import LAG, MISSING_ACCOUNT, TOMBSTONES
from .checks.permissions import DELEGATION, PERMISSION_NAMES
from .checks.policies import CONDITIONS, REFUSED_POLICIES
from .checks.quotas import LASTING_QUOTAS
from .checks.workloads import UPDATE_JOB, UPDATE_MASKS

BELIEFS: Final[tuple[Belief, ...]] = (
    UPDATE_MASKS,
    UPDATE_JOB,
    REFUSED_POLICIES,
    MISSING_ACCOUNT,
    LAG,
    TOMBSTONES,
    PERMISSION_NAMES,
    DELEGATION,
    CONDITIONS,
    LASTING_QUOTAS,
)
"""All beliefs."""
