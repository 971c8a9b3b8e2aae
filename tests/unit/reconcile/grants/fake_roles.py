"""Roles and their permissions in memory."""

from cloudrun_identity.gcp.errors import Fault, GoogleError


class FakeRoles:
    """Roles without a permission that escalates; `faults` are the errors of reads, by name of the role."""

    read: list[str]
    """Roles that were read."""

    permitted: frozenset[str]
    """Permissions of every role."""

    def __init__(self, **faults: Fault) -> None:
        self.faults = {f"roles/{name}": fault for name, fault in faults.items()}
        self.read = []
        self.permitted = frozenset({"cloudsql.instances.connect"})

    async def permissions(self, role: str, project_id: str, max_age: float) -> frozenset[str]:
        self.read.append(role)
        if role in self.faults:
            raise GoogleError(self.faults[role], "google.iam.admin.v1.IAM/GetRole", "no such role")
        return self.permitted

    def max_permissions(self, role: str, project_id: str) -> frozenset[str]:
        return self.permitted
