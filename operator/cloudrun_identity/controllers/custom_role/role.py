"""A custom role as declared and as read."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from cloudrun_identity.api import CustomRole, LedgerRole, ManagedProject
from cloudrun_identity.gcp.custom_roles import CustomRoleState, RoleFields
from cloudrun_identity.iam.admission import Admitted, Decision, GuardrailFacts
from cloudrun_identity.iam.grants import Grant
from cloudrun_identity.ledger.model import Ledger
from cloudrun_identity.ledger.owners import Owner

from .holders import RoleHolders

_ADMITTED = Admitted()


@dataclass(frozen=True, slots=True)
class RoleWant:
    """A custom role as declared, or its deletion."""

    obj: CustomRole
    project_id: str
    """Id of the Google Cloud project that has the role."""
    project: ManagedProject | None
    """ManagedProject that admits the role; None for a deletion, which is not admitted again."""
    facts: GuardrailFacts | None
    """Facts that the guardrails of `project` are evaluated with."""
    holders: Callable[[], Iterable[tuple[Grant, Owner]]]
    """Return every grant of the role that exists or is about to be written, with the object it is for.

    A live view: a grant that is registered while the role is read counts in the plan that follows.
    """
    ledgers: Callable[[], Iterable[Ledger]]
    """Return the ledgers of the project: of every policy that the operator manages, or did. A live view."""
    adoption: Decision = _ADMITTED
    """Decision of the project's guardrails on the adoption of a role with this ID."""
    users: tuple[str, ...] = ()
    """Objects that use the role, for a deletion."""
    deletes: bool = False
    """True if the object is being deleted."""
    abandon: bool = False
    """True if the deletion of the object leaves the role in place."""

    @property
    def name(self) -> str:
        """Full name of the role."""
        return self.obj.name_in(self.project_id)

    @property
    def owner(self) -> str:
        """The object as records name it: `namespace/name`."""
        return f"{self.obj.metadata.namespace}/{self.obj.metadata.name}"

    def fields(self, unsupported: frozenset[str]) -> RoleFields:
        """Return what to write, without the permissions that custom roles cannot hold."""
        spec = self.obj.spec
        return RoleFields(
            spec.title, spec.description, spec.stage.value, frozenset(spec.permissions) - unsupported
        )


@dataclass(frozen=True, slots=True)
class RoleSeen:
    """A custom role as read."""

    role: CustomRoleState | None
    """The role, deleted ones included; None if there is none."""
    record: LedgerRole | None = None
    """Record of the role in the ledger of the project's policy."""
    unsupported: frozenset[str] = frozenset()
    """Declared permissions that custom roles cannot hold."""
    holders: RoleHolders | None = None
    """Members that hold the role; None if the policies were not read."""
    conflicts: int = 0
    """Attempts of this reconcile that lost against another writer."""

    @property
    def is_managed(self) -> bool:
        """True if the object created or adopted the role, or is about to."""
        return self.record is not None and self.record.is_managed

    @property
    def known_holders(self) -> RoleHolders:
        """The holders, for a plan that depends on them; raises ValueError if they were not read."""
        if self.holders is None:
            raise ValueError("the plan depends on the holders of the role")
        return self.holders
