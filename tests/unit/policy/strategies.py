"""Policies, desired grants and ledgers for property tests. They have few names, so that they overlap."""

from dataclasses import replace

from google.iam.v1.policy_pb2 import AuditConfig, AuditLogConfig, Binding, Policy
from google.type.expr_pb2 import Expr
from hypothesis import strategies as st

from cloudrun_identity.api import GrantState, TargetKind
from cloudrun_identity.iam.grants import Grant, IAMCondition, Target
from cloudrun_identity.ledger.model import Ledger, entry_of
from cloudrun_identity.ledger.owners import Owner
from cloudrun_identity.policy.desired_grants import RETAIN_ALL, DesiredGrant, DesiredGrants, Retain
from cloudrun_identity.policy.merge import Removal

TARGET = Target(TargetKind.PROJECT, "payments-prod-1234")
ROLES = ("roles/run.invoker", "roles/cloudsql.client", "roles/logging.viewer")
OFFICE_HOURS = IAMCondition("office hours", "", "request.time.getHours('Europe/Zurich') < 18")
CONDITIONS = (None, OFFICE_HOURS, IAMCondition("office hours", "another expression", "true"))
ACCOUNT = "serviceAccount:checkout@payments-prod-1234.iam.gserviceaccount.com"
UNIQUE_IDS = ("111", "222")
MEMBERS = (ACCOUNT, "group:ops@example.com", "user:ann@example.com")
POLICY_MEMBERS = (
    *MEMBERS,
    "serviceAccount:Checkout@Payments-Prod-1234.iam.gserviceaccount.com",
    "group:OPS@Example.com",
    f"deleted:{ACCOUNT}?uid=111",
    f"deleted:{ACCOUNT}?uid=222",
    f"deleted:{ACCOUNT}?uid=333",
    "deleted:user:bob@example.com?uid=444",
    "principal://iam.googleapis.com/projects/42/locations/global/workloadIdentityPools/P/subject/S",
    "projectOwner:payments-prod-1234",
    "an undocumented form of member",
    "group:p.svc.id.goog:/allAuthenticatedUsers/",
    "serviceAccount:p.hub.id.goog[jobs/prefect]",
    "principalSet://iam.googleapis.com/projects/42/locations/global/workloadIdentityPools/P/attribute.a/A B",
)
OWNER_KEYS = tuple(("IAMBinding", "payments", name) for name in ("one", "two", "three"))
UIDS = ("uid-1", "uid-2")

# Values are drawn from prebuilt lists: building each value takes most of the time of a property test.
GRANTS = [
    Grant(TARGET, role, member, condition) for role in ROLES for member in MEMBERS for condition in CONDITIONS
]
_FORMER_UNIQUE_IDS = ((), ("111",), ("111", "333"))
_DESIRED = [
    DesiredGrant(grant, unique_id)
    for grant in GRANTS
    for unique_id in (("", *UNIQUE_IDS) if grant.member == ACCOUNT else ("",))
]
_DESIRED_WITH_HISTORY = [
    replace(desired, former_unique_ids=former_unique_ids)
    for desired in _DESIRED
    for former_unique_ids in (_FORMER_UNIQUE_IDS if desired.grant.member == ACCOUNT else ((),))
]
_AUDIT = AuditConfig(service="allServices", audit_log_configs=[AuditLogConfig(log_type="DATA_READ")])


def _binding(role: str, members: list[str], condition: IAMCondition | None) -> Binding:
    binding = Binding(role=role, members=members)
    if condition:
        binding.condition.CopyFrom(
            Expr(
                title=condition.title,
                description=condition.description,
                expression=condition.expression,
            )
        )
    return binding


grants = st.sampled_from(GRANTS)
desired_grants = st.sampled_from(_DESIRED)
"""Grants as objects declare them."""
desired_with_history = st.sampled_from(_DESIRED_WITH_HISTORY)
"""Desired grants as they are merged, with former accounts from the ledger."""
bindings = st.builds(
    _binding,
    st.sampled_from(ROLES),
    st.lists(st.sampled_from(POLICY_MEMBERS), min_size=1, max_size=4),
    st.sampled_from(CONDITIONS),
)
policies = st.builds(
    lambda bindings, audit_configs: Policy(
        version=3, etag=b"etag", bindings=bindings, audit_configs=audit_configs
    ),
    st.lists(bindings, max_size=4),
    st.sampled_from([[], [_AUDIT]]),
)
removals = st.builds(Removal, grants, st.sampled_from([(), ("111",), ("222",), ("333", "111")]))
owners = st.sampled_from([Owner(*owner_key, uid) for owner_key in OWNER_KEYS for uid in UIDS])
retains = st.sampled_from([(), (), (RETAIN_ALL,), (Retain(TARGET, ROLES[0]),), (Retain(member=ACCOUNT),)])
declarations = st.lists(
    st.builds(
        DesiredGrants,
        owners,
        st.frozensets(desired_grants, max_size=4),
        retains,
        writable=st.sampled_from([True, True, False]),
        abandon=st.sampled_from([False, False, True]),
    ),
    max_size=3,
    unique_by=lambda desired: desired.owner.owner_key,
)
entry_fields = st.fixed_dictionaries(
    {
        "owners": st.sets(owners, min_size=1, max_size=2).map(lambda drawn: [*map(str, drawn)]),
        "state": st.sampled_from(GrantState),
        "present_before": st.booleans(),
        "unique_id": st.sampled_from(["", *UNIQUE_IDS]),
        "former_unique_ids": st.sampled_from(_FORMER_UNIQUE_IDS),
    }
)
ledgers = st.dictionaries(grants, entry_fields, max_size=5).map(
    lambda entries: Ledger.of(TARGET, {grant: entry_of(grant, **fields) for grant, fields in entries.items()})
)
