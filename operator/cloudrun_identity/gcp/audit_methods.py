"""Methods of Google Cloud that change what the operator manages, as the audit log names them.

The log has the full name of a method, such as `google.iam.admin.v1.SetIAMPolicy`, or in the older APIs only
its last part. So the last part decides here, together with the service, and later versions of an API are
recognized, too.
"""

from collections.abc import Iterable
from typing import Final

from cloudrun_identity.api import TARGET_KINDS, TargetKind

ORG_POLICY: Final = "orgpolicy.googleapis.com"
WORKLOADS: Final = ("Service", "Job", "WorkerPool")

POLICY_METHODS: Final = frozenset({"setiampolicy", "setiampermissions"})
"""Last parts of the methods that write a policy, in lower case: IAM and Storage have their own spelling."""

ACCOUNT_METHODS: Final = frozenset(
    {
        f"{verb}ServiceAccount"
        for verb in ("Create", "Delete", "Undelete", "Disable", "Enable", "Update", "Patch")
    }
    | {f"{verb}ServiceAccountKey" for verb in ("Create", "Upload", "Delete", "Disable", "Enable")}
)
"""Methods of IAM that change an account or its keys."""

ROLE_METHODS: Final = frozenset({f"{verb}Role" for verb in ("Create", "Update", "Delete", "Undelete")})
"""Methods of IAM that change a custom role."""

WORKLOAD_METHODS: Final = frozenset(
    {f"{verb}{noun}" for verb in ("Create", "Replace", "Update", "Delete") for noun in WORKLOADS}
)
"""Methods of both versions of Cloud Run that change a workload."""

PROJECT_METHODS: Final = {
    TARGET_KINDS[TargetKind.PROJECT].host: frozenset(
        {"DeleteProject", "UndeleteProject", "SetOrgPolicy", "ClearOrgPolicy"}
    ),
    ORG_POLICY: frozenset({"CreatePolicy", "UpdatePolicy", "DeletePolicy"}),
}
"""Methods that change a project or its organization policies, by service."""


def audited_methods(kinds: Iterable[TargetKind]) -> dict[str, frozenset[str]]:
    """Return the methods whose entries the operator uses, by service, for the narrowest filter of a sink.

    `kinds` are those whose policies it manages.
    """
    methods: dict[str, set[str]] = {}
    for kind in kinds:
        descriptor = TARGET_KINDS[kind]
        methods.setdefault(descriptor.host, set()).update(descriptor.audit_methods)
    iam = methods.setdefault(TARGET_KINDS[TargetKind.SERVICE_ACCOUNT].host, set())
    iam |= {f"google.iam.admin.v1.{name}" for name in ACCOUNT_METHODS | ROLE_METHODS}
    run = methods.setdefault(TARGET_KINDS[TargetKind.SERVICE].host, set())
    for noun in WORKLOADS:
        run |= {f"google.cloud.run.v1.{noun}s.{verb}{noun}" for verb in ("Create", "Replace", "Delete")}
        run |= {f"google.cloud.run.v2.{noun}s.{verb}{noun}" for verb in ("Create", "Update", "Delete")}
    projects = methods.setdefault(TARGET_KINDS[TargetKind.PROJECT].host, set())
    for name in ("DeleteProject", "UndeleteProject"):
        projects |= {name, f"google.cloud.resourcemanager.v3.Projects.{name}"}
    projects |= {"SetOrgPolicy", "ClearOrgPolicy"}
    methods[ORG_POLICY] = {
        f"google.cloud.orgpolicy.v2.OrgPolicy.{name}" for name in PROJECT_METHODS[ORG_POLICY]
    }
    return {service: frozenset(names) for service, names in methods.items() if service}
