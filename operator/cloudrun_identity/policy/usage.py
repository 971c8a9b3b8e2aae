"""The use of the limits that Google Cloud puts on the content of an IAM policy.

Google Cloud counts as https://cloud.google.com/iam/docs/allow-policies describes:

- Principals: every appearance of a member in a role binding, and the principals that are exempted from audit
  logging. Members of several bindings, also of deleted accounts, count once for each binding.
- Groups and domains: a group counts once, and a domain counts once for each of its role bindings.

With conditions or long identifiers, Google Cloud may accept fewer principals.
"""

from collections.abc import Container, Iterable
from dataclasses import dataclass

from google.iam.v1.policy_pb2 import Policy

from cloudrun_identity.api import LedgerUsage
from cloudrun_identity.iam.grants import Grant
from cloudrun_identity.iam.principals import PrincipalKind, normalise, parse


@dataclass(frozen=True, slots=True)
class PolicyUsage:
    """The use of the limits by one policy."""

    members: int = 0
    """The members of all role bindings."""
    exempted: int = 0
    """The principals that are exempted from audit logging."""
    groups: frozenset[str] = frozenset()
    """The groups in role bindings."""
    domains: int = 0
    """The domains of all role bindings."""

    @property
    def principals(self) -> int:
        """The number that counts against the limit on principals."""
        return self.members + self.exempted

    @property
    def groups_and_domains(self) -> int:
        """The number that counts against the limit on groups and domains."""
        return len(self.groups) + self.domains

    def adds_group(self, grant: Grant) -> bool:
        """Return whether the grant would count against the limit on groups and domains."""
        kind = parse(grant.member).kind
        return kind is PrincipalKind.DOMAIN or (kind in _GROUPS and grant.member not in self.groups)

    def with_grant(self, grant: Grant, *, replaces: bool = False) -> "PolicyUsage":
        """Return the usage with a further grant, or with one that replaces another member."""
        kind = parse(grant.member).kind
        return PolicyUsage(
            self.members + (not replaces),
            self.exempted,
            self.groups | {grant.member} if kind in _GROUPS else self.groups,
            self.domains + (kind is PrincipalKind.DOMAIN),
        )

    def as_recorded(self) -> LedgerUsage:
        """Return the usage as the ledger has it."""
        return LedgerUsage(principals=self.principals, exempted=self.exempted, groups=self.groups_and_domains)


def usage_of(policy: Policy) -> PolicyUsage:
    """Return the usage of a policy."""
    members = [normalise(member) for binding in policy.bindings for member in binding.members]
    return PolicyUsage(
        members=len(members),
        exempted=sum(
            len(log.exempted_members) for config in policy.audit_configs for log in config.audit_log_configs
        ),
        groups=frozenset(_of_kind(_GROUPS, members)),
        domains=sum(1 for _ in _of_kind({PrincipalKind.DOMAIN}, members)),
    )


def _of_kind(kinds: Container[PrincipalKind], members: Iterable[str]) -> Iterable[str]:
    return (member for member in members if parse(member).kind in kinds)


_GROUPS = frozenset({PrincipalKind.GROUP, PrincipalKind.KUBERNETES_WORKLOADS})
"""Members that begin with `group:`."""
