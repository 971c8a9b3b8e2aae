"""Owners of grants, from the PolicyLedgers of a cluster."""

from collections.abc import Iterable, Mapping

from cloudrun_identity.iam.access import AccessPath, AllowBinding
from cloudrun_identity.iam.grants import Grant, IAMCondition
from cloudrun_identity.iam.principals import normalise
from cloudrun_identity.ledger.model import Ledger
from cloudrun_identity.policy.registered_forms import registered_grants

GrantKey = tuple[str, str, str, IAMCondition | None]


class ManagedGrants:
    """The grants that the operator of a cluster manages in one project, with the objects that own them."""

    def __init__(self, ledgers: Iterable[Ledger], project_id: str) -> None:
        self._owners: dict[GrantKey, tuple[str, ...]] = {}
        for ledger in ledgers:
            if ledger.target.project_id == project_id:
                self._add(ledger)

    def owners(self, path: AccessPath) -> tuple[str, ...]:
        """Return the objects that own a grant, as `IAMBinding payments/web`; empty for an unmanaged one."""
        binding: AllowBinding = path.binding
        return self._owners.get(
            (binding.resource, binding.role, normalise(path.member), binding.condition), ()
        )

    def _add(self, ledger: Ledger) -> None:
        registered: Mapping[Grant, frozenset[Grant]] = registered_grants(ledger.entries)
        for grant, entry in ledger.entries.items():
            if not entry.is_made or entry.present_before or not entry.owners:
                continue
            owners = tuple(_named(each) for each in sorted(entry.owner_keys))
            for form in (grant, *registered.get(grant, ())):
                key = (str(form.target), form.role, normalise(form.member), form.condition)
                self._owners[key] = owners


def _named(owner_key: str) -> str:
    """Return `IAMBinding payments/web` for `IAMBinding/payments/web`."""
    kind, _, name = owner_key.partition("/")
    return f"{kind} {name}"
