"""Members of grants: principals as IAM writes them, and references that resolve to a principal."""

from typing import Annotated, ClassVar, Final

from pydantic import Field

from .expiry import ENFORCED_BY_GOOGLE, TEMPORARY_GRANT_RULES, TemporaryGrantFields
from .references import IdentityRef, LocalIdentityRef, ProjectRef
from .schema import ApiModel, Rule, exactly_one_of, excludes, matches, matches_by_prefix

CONVENIENCE_VALUE: Final = (
    "must not be projectOwner:, projectEditor: or projectViewer:, which stand for all present and future "
    "holders of a basic role on a project; name the members instead"
)
"""Reason why a spec cannot declare these members, and the remedy."""

DELETED_PRINCIPAL: Final = (
    "must not be a deleted principal, because no role can be granted to it; restore the principal, or name "
    "another member"
)
"""Reason why a spec cannot declare a tombstone, and the remedy."""

# Documented at https://cloud.google.com/iam/docs/principal-identifiers. Workloads of GKE and of fleets can
# also be written in the former form POOL[SUBJECT]:
# https://cloud.google.com/python/docs/reference/securitycenter/1.30.0/google.cloud.securitycenter_v1.types.ServiceAccountDelegationInfo
# (GKE_WORKLOAD, GKE_HUB_WORKLOAD). The group is that of all workloads of a pool:
# https://github.com/hashicorp/terraform-provider-google/issues/10466. E-mails are printable ASCII, and their
# domains have no empty label: what looks like one account must not be written in two ways. Subjects and
# attributes of pools may contain blanks, but not at an end.
_EMAIL: Final = r"[!-9;-?A-~]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+"
_POOL_MEMBER: Final = r"[a-z0-9:.-]+\.(svc|hub)\.id\.goog\[[a-z0-9-]+/[a-z0-9.-]+\]"
_POOL_MEMBERS: Final = r"[a-z0-9:.-]+\.svc\.id\.goog:/allAuthenticatedUsers/"
_CONVENIENCE_VALUES: Final = ("projectOwner:", "projectEditor:", "projectViewer:")
_DELETED: Final = "deleted:"
_PRINCIPAL_FORMS: Final = {
    "user:": f"^user:{_EMAIL}$",
    "group:": f"^group:({_EMAIL}|{_POOL_MEMBERS})$",
    "serviceAccount:": f"^serviceAccount:({_EMAIL}|{_POOL_MEMBER})$",
    "domain:": r"^domain:[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+$",
    "principal": r"^principal(Set)?://[^\s]+( +[^\s]+)*$",
    # Two further rules explain the refusal of these forms.
    **{prefix: f"^{prefix}" for prefix in (*_CONVENIENCE_VALUES, _DELETED)},
    "": "^(allUsers|allAuthenticatedUsers)$",
}
"""Forms of principals by their beginning."""

Principal = Annotated[
    str,
    Field(max_length=512),
    matches_by_prefix(
        _PRINCIPAL_FORMS,
        "must be user:EMAIL, group:EMAIL, serviceAccount:EMAIL, "
        "serviceAccount:PROJECT.svc.id.goog[NAMESPACE/NAME], domain:DOMAIN, "
        "group:PROJECT.svc.id.goog:/allAuthenticatedUsers/, principal://…, principalSet://…, allUsers or "
        "allAuthenticatedUsers",
    ),
    excludes(_CONVENIENCE_VALUES, CONVENIENCE_VALUE),
    excludes([_DELETED], DELETED_PRINCIPAL),
]


class CloudRunServiceAgentOf(ApiModel):
    """CloudRunServiceAgentOf identifies the Cloud Run service agent of a project.

    The service agent is a service account that Google manages.
    """

    project_ref: ProjectRef
    """ManagedProject of the service agent."""


class ServiceAgentOf(ApiModel):
    """ServiceAgentOf identifies the service agent of a Google Cloud service in a project.

    The service agent is a service account that Google manages.
    """

    project_ref: ProjectRef
    """ManagedProject of the service agent."""
    service: Annotated[
        str,
        Field(max_length=128),
        matches(
            r"^[a-z][a-z0-9-]*\.googleapis\.com$",
            "must be the name of a Google Cloud service, such as pubsub.googleapis.com",
        ),
    ]
    """Name of the service, such as `pubsub.googleapis.com`."""
    agent: (
        Annotated[
            str,
            Field(max_length=64),
            matches(
                r"^[a-z][a-z0-9-]*(\.[a-z0-9-]+)*$",
                "must be the part of the agent's e-mail between @ and .iam.gserviceaccount.com",
            ),
        ]
        | None
    ) = None
    """One of several agents of the service: the part of its e-mail between @ and .iam.gserviceaccount.com,
    such as `gcp-sa-cloudbuild`. If unset, the only or the primary agent."""


_EXPIRY_RULES: Final = (
    *TEMPORARY_GRANT_RULES,
    Rule(
        "!has(self.principal) || !(self.principal in ['allUsers', 'allAuthenticatedUsers'])"
        f" || !({ENFORCED_BY_GOOGLE})",
        "must not be OperatorAndGoogle for allUsers and allAuthenticatedUsers, which take no conditions",
        field_path=".expiryEnforcedBy",
        reason="FieldValueForbidden",
    ),
)


class Member(TemporaryGrantFields):
    """Member is a principal that is granted a role."""

    rules: ClassVar = (
        exactly_one_of("principal", "identityRef", "cloudRunServiceAgentOf", "serviceAgentOf"),
        *_EXPIRY_RULES,
    )

    principal: Principal | None = None
    """Principal as IAM writes it, such as `group:ops@example.com`."""
    identity_ref: IdentityRef | None = None
    """CloudRunIdentity to grant the role to."""
    cloud_run_service_agent_of: CloudRunServiceAgentOf | None = None
    """Project whose Cloud Run service agent is granted the role. Short for serviceAgentOf with the service
    run.googleapis.com."""
    service_agent_of: ServiceAgentOf | None = None
    """Service and project whose service agent is granted the role."""

    @property
    def service_agent(self) -> ServiceAgentOf | None:
        """Service agent that the member names, in either form."""
        if self.cloud_run_service_agent_of:
            return cloud_run_agent_of(self.cloud_run_service_agent_of.project_ref)
        return self.service_agent_of


def cloud_run_agent_of(project: ProjectRef) -> ServiceAgentOf:
    """Return the Cloud Run service agent of a project."""
    return ServiceAgentOf(project_ref=project, service="run.googleapis.com")


class CallingIdentity(ApiModel):
    """CallingIdentity is the identity that a Google Cloud product calls Cloud Run as.

    The product sends a token of its service account with each call.
    """

    identity_ref: LocalIdentityRef
    """CloudRunIdentity in the project of the product's resource, and in the same namespace as this object."""


class BindingMember(Member):
    """BindingMember is a member of an IAMBinding: a principal, or a product that calls as an identity.

    A product calls as the service account that its job, queue, subscription or trigger names. The operator
    grants the role to this account, and what else the product needs.
    """

    rules: ClassVar = (
        exactly_one_of(
            "principal",
            "identityRef",
            "cloudRunServiceAgentOf",
            "serviceAgentOf",
            "cloudSchedulerOf",
            "cloudTasksOf",
            "pubSubPushOf",
            "eventarcOf",
        ),
        *_EXPIRY_RULES,
    )

    cloud_scheduler_of: CallingIdentity | None = None
    """Identity that Cloud Scheduler jobs call as. It is granted the role."""
    cloud_tasks_of: CallingIdentity | None = None
    """Identity that tasks of Cloud Tasks call as. It is granted the role."""
    pub_sub_push_of: CallingIdentity | None = None
    """Identity that Pub/Sub push subscriptions call as. It is granted the role, and the Pub/Sub service agent
    of its project is granted roles/iam.serviceAccountTokenCreator on its account."""
    eventarc_of: CallingIdentity | None = None
    """Identity that Eventarc triggers call as. It is granted the role and, on its project,
    roles/eventarc.eventReceiver; the Pub/Sub service agent of its project is granted
    roles/iam.serviceAccountTokenCreator on its account."""
