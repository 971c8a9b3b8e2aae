"""Google Cloud of a simulation: what it has at the start, and how other clients read and change it."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from google.cloud import iam_admin_v1 as iam
from google.iam.v1 import policy_pb2
from google.protobuf.field_mask_pb2 import FieldMask

from cloudrun_identity_playground.emulator.apis.actor import acting_as
from cloudrun_identity_playground.emulator.apis.service_accounts import policy_name
from cloudrun_identity_playground.emulator.author import Author
from cloudrun_identity_playground.emulator.edit_errors import EditError
from cloudrun_identity_playground.emulator.emulator import Emulator
from cloudrun_identity_playground.emulator.errors import GoogleError
from cloudrun_identity_playground.emulator.faults import Fault
from cloudrun_identity_playground.emulator.seed import Seed
from cloudrun_identity_playground.emulator.switches import RequestsPerMinute

from .declarations import (
    BUCKET,
    CHECKOUT,
    DATA,
    PROJECT_NUMBERS,
    PROJECTS,
    SHOP,
    WRITER,
    Grant,
    run_service_agent,
)

AGENTS = frozenset(map(run_service_agent, PROJECTS))
"""The service agents of Cloud Run."""

STARTING_CLOUD = Seed.model_validate(
    {
        "projects": [
            {
                "projectID": SHOP,
                "projectNumber": PROJECT_NUMBERS[SHOP],
                "policy": [
                    {"role": "roles/owner", "members": ["user:dana@example.com"]},
                    {"role": "roles/viewer", "members": ["group:auditors@example.com"]},
                    {
                        "role": "roles/cloudsql.client",
                        "members": ["user:oncall@example.com"],
                        "condition": {
                            "title": "this year",
                            "expression": 'request.time < timestamp("2031-01-01T00:00:00Z")',
                        },
                    },
                ],
                "services": [
                    {
                        "location": "europe-west1",
                        "name": "checkout",
                        "policy": [{"role": "roles/run.invoker", "members": ["group:testers@example.com"]}],
                    }
                ],
                "resources": [{"kind": "StorageBucket", "name": "acme-exports"}],
            },
            {
                "projectID": DATA,
                "projectNumber": PROJECT_NUMBERS[DATA],
                "policy": [{"role": "roles/owner", "members": ["user:dana@example.com"]}],
                "orgPolicies": [
                    {"constraint": "iam.disableCrossProjectServiceAccountUsage", "enforce": False}
                ],
            },
        ]
    }
)
"""Two projects with a service, a bucket, and members that no object declares."""

READER_ROLE = f"projects/{SHOP}/roles/reader"
"""The custom role of the pool."""
HAND_MADE = "made by hand"
"""Display name that another client sets."""

RESTORABLE = (CHECKOUT, BUCKET, f"projects/{SHOP}")
"""Resources whose policies other clients overwrite with older ones."""

_CONDITION = {"title": "this year", "expression": 'request.time < timestamp("2031-01-01T00:00:00Z")'}
_AUDIT_CONFIGS = (
    {
        "service": "storage.googleapis.com",
        "logTypes": ["DATA_READ"],
        "exemptedMembers": ["user:dana@example.com"],
    },
    {"service": "allServices", "logTypes": ["ADMIN_READ", "DATA_WRITE"]},
)

_HOSTS = {"serviceAccounts": "iam", "services": "run"}
_UNTOUCHED_ROLES = ("roles/owner",)


class Cloud:
    """The emulator, as other clients than the operator see it."""

    def __init__(self) -> None:
        self.emulator = Emulator(seed=STARTING_CLOUD)
        self.edit_part(f"projects/{SHOP}", "audit config", present=False)
        self._calm = self.emulator.switches.model_copy(deep=True)

    def policy(self, resource: str) -> policy_pb2.Policy:
        """Return the policy of a resource; an empty one for an account that does not exist."""
        return self.emulator.cloud.policies.shown(self._stored_as(resource))

    def grants(self, resource: str) -> frozenset[Grant]:
        """Return the grants on a resource."""
        return frozenset(grants_in(resource, self.policy(resource)))

    def untouched(self, resource: str) -> str:
        """Return what the operator never has a reason to change: owners, conditions and audit configs."""
        policy = self.policy(resource)
        kept = [
            each for each in policy.bindings if each.role in _UNTOUCHED_ROLES or each.condition.expression
        ]
        return str(policy_pb2.Policy(bindings=kept, audit_configs=policy.audit_configs))

    def has(self, grant: Grant) -> bool:
        """Return whether a policy shows a grant."""
        return grant in self.grants(grant.resource)

    def is_effective(self, grant: Grant) -> bool:
        """Return whether a grant is bound to the account that has the member's e-mail now.

        A grant of a service agent always is: Google manages these accounts, and never recreates them.
        """
        kind, _, address = grant.member.partition(":")
        if kind != "serviceAccount" or address in AGENTS:
            return True
        unique_id = self.account_ids().get(address)
        policies = self.emulator.cloud.policies
        bound = zip(policies.shown(grant.resource).bindings, policies.bound_ids(grant.resource), strict=True)
        return unique_id is not None and unique_id in {
            ids.get(grant.member) for binding, ids in bound if binding.role == grant.role
        }

    def account_ids(self) -> dict[str, str]:
        """Return the unique IDs of the accounts that exist, by e-mail."""
        return {
            account.email: account.unique_id
            for account in self.emulator.cloud.accounts
            if account.deleted_at is None
        }

    def accounts(self) -> dict[str, dict[str, Any]]:
        """Return the fields of the accounts that objects declare, by e-mail."""
        return {
            account.email: {
                "disabled": account.disabled,
                "displayName": account.display_name,
                "description": account.description,
            }
            for account in self.emulator.cloud.accounts
            if account.deleted_at is None
        }

    def role_permissions(self) -> frozenset[str] | None:
        """Return the permissions of the custom role; None if it does not exist, or is deleted."""
        get = self.emulator.cloud.handlers["google.iam.admin.v1.IAM/GetRole"]
        try:
            role = get(iam.GetRoleRequest(name=READER_ROLE))
        except GoogleError:
            return None
        return None if role.deleted else frozenset(role.included_permissions)

    def keys(self, email: str) -> dict[str, bool]:
        """Return whether each user-managed key of an account is enabled, by the ID of the key."""
        return {
            key: not each.disabled
            for account in self.emulator.cloud.accounts
            if account.email == email and account.deleted_at is None
            for key, each in account.keys.items()
        }

    def runs_as(self) -> str:
        """Return the account in the template of the service; empty for the default account."""
        service = self.emulator.cloud.workloads["services"].read(CHECKOUT)
        return str(service.template.service_account)

    def set_grant(self, grant: Grant, *, present: bool) -> None:
        """Add or remove a grant. Raises EditError."""
        verb = "add" if present else "remove"
        change = {"role": grant.role, "member": grant.member}
        self.emulator.edit({"policy": _full_name(grant.resource), verb: [change]})

    def edit_part(self, resource: str, part: str, *, present: bool) -> None:
        """Add or remove a conditional grant or audit configs. Raises EditError."""
        name = _full_name(resource)
        if part == "condition":
            grant = {"role": WRITER, "member": "user:oncall@example.com", "condition": _CONDITION}
            self.emulator.edit({"policy": name, "add" if present else "remove": [grant]})
        else:
            self.emulator.edit({"policy": name, "auditConfigs": _AUDIT_CONFIGS[: 2 if present else 1]})

    def overwrite(self, resource: str, policy: policy_pb2.Policy) -> frozenset[Grant]:
        """Write an older policy. Return the grants that changed. Raises EditError."""
        was, now = frozenset(grants_in(resource, policy)), self.grants(resource)
        changed = was ^ now
        if not changed or any("deleted:" in grant.member for grant in changed):
            return frozenset()
        add, remove = (
            [{"role": grant.role, "member": grant.member} for grant in sorted(grants)]
            for grants in (was - now, now - was)
        )
        self.emulator.edit({"policy": _full_name(resource), "add": add, "remove": remove})
        return changed

    def edit_account(self, email: str, verb: str) -> None:
        """Change an account, as `steps.EditAccount` describes. Raises EditError."""
        account_id, _, domain = email.partition("@")
        project = f"projects/{domain.partition('.')[0]}"
        account = f"{project}/serviceAccounts/{email}"
        match verb:
            case "rename":
                renamed = iam.ServiceAccount(name=account, display_name=HAND_MADE)
                mask = FieldMask(paths=["display_name"])
                self._write(
                    "PatchServiceAccount",
                    iam.PatchServiceAccountRequest(service_account=renamed, update_mask=mask),
                )
            case "recreate":
                self._write("DeleteServiceAccount", iam.DeleteServiceAccountRequest(name=account))
                request = iam.CreateServiceAccountRequest(name=project, account_id=account_id)
                self._write("CreateServiceAccount", request)
            case _:
                self.emulator.edit({"serviceAccount": _full_name(account), verb: True})

    def edit_role(self, verb: str) -> None:
        """Change the custom role, as `steps.EditRole` describes. Raises EditError."""
        match verb:
            case "delete":
                self._write("DeleteRole", iam.DeleteRoleRequest(name=READER_ROLE))
            case "undelete":
                self._write("UndeleteRole", iam.UndeleteRoleRequest(name=READER_ROLE))
            case "change":
                role = iam.Role(included_permissions=["storage.buckets.get"])
                mask = FieldMask(paths=["included_permissions"])
                self._write(
                    "UpdateRole", iam.UpdateRoleRequest(name=READER_ROLE, role=role, update_mask=mask)
                )

    def edit_key(self, email: str, verb: str) -> None:
        """Change the newest key of an account, as `steps.EditKey` describes. Raises EditError."""
        keys = list(self.keys(email))
        if not keys:
            raise EditError(f"{email} has no key")
        project = email.partition("@")[2].partition(".")[0]
        name = f"projects/{project}/serviceAccounts/{email}/keys/{keys[-1]}"
        request = getattr(iam, f"{verb.capitalize()}ServiceAccountKeyRequest")(name=name)
        self._write(f"{verb.capitalize()}ServiceAccountKey", request)

    def _write(self, method: str, request: Any) -> None:
        """Call a method of the IAM API as another client. Raises EditError."""
        author = Author()
        with acting_as(author.principal):
            try:
                self.emulator.cloud.write(f"google.iam.admin.v1.IAM/{method}", request, author.sender)
            except GoogleError as error:
                raise EditError(error.message) from error

    def redeploy(self, email: str) -> None:
        """Deploy the service with another account. Raises EditError."""
        self.emulator.edit({"workload": _full_name(CHECKOUT), "serviceAccount": email})

    def fail(self, method: str, code: str, times: int, *, applied: bool, delay: float) -> None:
        """Let the next calls of a method fail or be slow."""
        self.emulator.faults.add(Fault(method=method, code=code, times=times, applied=applied, delay=delay))

    def lag(self, accounts: float, policies: float) -> None:
        """Show new accounts, and writes of policies, only after some seconds."""
        self.emulator.switches.lag = timedelta(seconds=accounts)
        self.emulator.switches.stale_reads = timedelta(seconds=policies)

    def limit(self, host: str, writes: int) -> None:
        """Set the quota of writes per minute of an API."""
        self.emulator.switches.requests_per_minute = {host: RequestsPerMinute(reads=None, writes=writes)}

    def calm(self) -> None:
        """Clear all faults, lags and quotas."""
        self.emulator.faults.clear()
        self.emulator.switches.assign(self._calm)

    def _stored_as(self, resource: str) -> str:
        """Return the name of a resource in the store of policies: accounts have their unique ID there."""
        address = resource.partition("/serviceAccounts/")[2]
        for account in self.emulator.cloud.accounts:
            if account.email == address and account.deleted_at is None:
                return policy_name(account)
        return resource


def grants_in(resource: str, policy: policy_pb2.Policy) -> Iterator[Grant]:
    """Yield the unconditional grants of a policy."""
    for binding in policy.bindings:
        if not binding.condition.expression:
            for member in binding.members:
                yield Grant(resource, binding.role, member)


def resource_of(full_name: str) -> str:
    """Return the resource of a grant by its full name."""
    name = full_name.removeprefix("//").partition("/")[2]
    bucket = next((each for each in RESTORABLE if "/buckets/" in each), "")
    return bucket if name.endswith(bucket.rpartition("/")[2]) and "serviceAccounts" not in name else name


def _full_name(resource: str) -> str:
    if resource == BUCKET:
        return "//storage.googleapis.com/projects/_/buckets/acme-exports"
    host = _HOSTS.get(resource.split("/")[-2], "cloudresourcemanager")
    return f"//{host}.googleapis.com/{resource}"
