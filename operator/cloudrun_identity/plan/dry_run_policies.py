"""IAM policies that are read from Google Cloud and written in memory."""

from collections.abc import Callable, Collection, Iterator

from google.iam.v1.policy_pb2 import Policy

from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.policy.merge import grants_in
from cloudrun_identity.policy.ports import PolicyPort

from .model import Sign


class DryRunPolicies:
    """A `policy.ports.PolicyPort` whose writes are kept in memory."""

    def __init__(self, policies: PolicyPort, is_assumed: Callable[[Target], bool]) -> None:
        """`is_assumed(target)` is true of a resource that a step of the dry run would create."""
        self._policies = policies
        self._is_assumed = is_assumed
        self._read: dict[Target, Policy] = {}
        self._written: dict[Target, Policy] = {}

    async def get(self, target: Target) -> Policy:
        """Return the policy as written last, or as read once; raises GoogleError."""
        if target in self._written:
            return self._written[target]
        if target not in self._read:
            self._read[target] = await self._read_once(target)
        return self._read[target]

    async def set(self, target: Target, policy: Policy) -> Policy:
        """Keep the policy in memory."""
        self._written[target] = policy
        return policy

    def log_write(self, target: Target, *, removed: Collection[Grant], added: Collection[Grant]) -> None:
        """Log nothing: Google Cloud is not changed."""

    def changes(self) -> Iterator[tuple[Target, Sign, Grant]]:
        """Return every grant that would be added or removed, policy by policy."""
        for target in sorted(self._written):
            before = grants_in(self._read[target], target)
            after = grants_in(self._written[target], target)
            for sign, grants in ((Sign.ADD, after - before), (Sign.REMOVE, before - after)):
                for grant in sorted(grants, key=grant_text):
                    yield target, sign, grant

    def present_before(self, target: Target) -> frozenset[Grant]:
        """Return the grants in the policy as it was read; none if it was not read."""
        read = self._read.get(target)
        return frozenset(grants_in(read, target)) if read else frozenset()

    async def _read_once(self, target: Target) -> Policy:
        try:
            return await self._policies.get(target)
        except GoogleError as error:
            if error.fault is Fault.NOT_FOUND and self._is_assumed(target):
                return Policy(etag=b"assumed")
            raise


def describe_policy(target: Target) -> str:
    """Return the name of a policy as plans show it."""
    project = "" if target.descriptor.name_includes_project else f" of project {target.project_id}"
    return f"IAM policy of {target}{project}"


def grant_text(grant: Grant) -> str:
    """Return a grant as a plan shows it below the name of its policy."""
    when = f" if {grant.condition.title}" if grant.condition else ""
    return f"{grant.role} for {grant.member}{when}"
