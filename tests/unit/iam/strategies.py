"""Policies, claims, declarations and ledgers for properties: few names, so that they meet."""

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
CONDITIONS = (None, OFFICE_HOURS, IAMCondition("office hours", "differs in its expression alone", "true"))
ACCOUNT = "serviceAccount:checkout@payments-prod-1234.iam.gserviceaccount.com"
UNIQUE_IDS = ("111", "222")
MEMBERS = (ACCOUNT, "group:ops@example.com", "user:ann@example.com")
FOREIGN = (
    *MEMBERS,
    "serviceAccount:Checkout@Payments-Prod-1234.iam.gserviceaccount.com",
    "group:OPS@Example.com",
    f"deleted:{ACCOUNT}?uid=111",
    f"deleted:{ACCOUNT}?uid=222",
    f"deleted:{ACCOUNT}?uid=333",
    "deleted:user:bob@example.com?uid=444",
    "principal://iam.googleapis.com/projects/42/locations/global/workloadIdentityPools/P/subject/S",
    "projectOwner:payments-prod-1234",
    "a form of member that nobody has documented",
)
SEATS = tuple(("IAMBinding", "payments", name) for name in ("one", "two", "three"))
UIDS = ("uid-1", "uid-2")

# Drawn from pools that are built once: building each value field by field takes most of a property's time.
GRANTS = [
    Grant(TARGET, role, member, condition) for role in ROLES for member in MEMBERS for condition in CONDITIONS
]
_FORMER_IDS = ((), ("111",), ("111", "333"))
_CLAIMS = [
    DesiredGrant(grant, unique_id)
    for grant in GRANTS
    for unique_id in (("", *UNIQUE_IDS) if grant.member == ACCOUNT else ("",))
]
_HISTORIED_CLAIMS = [
    replace(desired_grant, former_unique_ids=former_ids)
    for desired_grant in _CLAIMS
    for former_ids in (_FORMER_IDS if desired_grant.grant.member == ACCOUNT else ((),))
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
desired_grants = st.sampled_from(_CLAIMS)
"""As objects declare them."""
historied_claims = st.sampled_from(_HISTORIED_CLAIMS)
"""As they are merged, with what the ledger knows."""
bindings = st.builds(
    _binding,
    st.sampled_from(ROLES),
    st.lists(st.sampled_from(FOREIGN), min_size=1, max_size=4),
    st.sampled_from(CONDITIONS),
)
policies = st.builds(
    lambda bindings, audit_configs: Policy(
        version=3, etag=b"etag", bindings=bindings, audit_configs=audit_configs
    ),
    st.lists(bindings, max_size=4),
    st.sampled_from([[], [_AUDIT]]),
)
releases = st.builds(Removal, grants, st.sampled_from([(), ("111",), ("222",), ("333", "111")]))
owners = st.sampled_from([Owner(*owner_key, uid) for owner_key in SEATS for uid in UIDS])
retains = st.sampled_from([(), (), (RETAIN_ALL,), (Retain(TARGET, ROLES[0]),), (Retain(member=ACCOUNT),)])
all_desired = st.lists(
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
        "owners": st.sets(owners, min_size=1, max_size=2).map(lambda them: [*map(str, them)]),
        "state": st.sampled_from(GrantState),
        "present_before": st.booleans(),
        "unique_id": st.sampled_from(["", *UNIQUE_IDS]),
        "former_unique_ids": st.sampled_from(_FORMER_IDS),
    }
)
ledgers = st.dictionaries(grants, entry_fields, max_size=5).map(
    lambda entries: Ledger.of(TARGET, {grant: entry_of(grant, **fields) for grant, fields in entries.items()})
)
