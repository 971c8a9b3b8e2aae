"""Groups of permissions that escalate through policies, roles, accounts, trust and restrictions."""

from typing import Final

from .groups import DOCS, EXCEPT_OWN_IDENTITY, RHINO, TAGS, Escalation, all_of, hacktricks

CONTROL: Final[tuple[Escalation, ...]] = (
    Escalation(
        "policies",
        (
            "*.setIamPolicy",
            "edgecontainer.zones.setZoneIamPolicy",
            *all_of("privilegedaccessmanager", "entitlements"),
            "privilegedaccessmanager.settings.update",
        ),
        "can grant any role to any principal",
        (hacktricks("misc-perms"), TAGS, f"{DOCS}iam/docs/pam-overview"),
    ),
    Escalation(
        "impersonation",
        (
            "iam.serviceAccounts.actAs",
            "iam.serviceAccounts.getAccessToken",
            "iam.serviceAccounts.getOpenIdToken",
            "iam.serviceAccounts.signBlob",
            "iam.serviceAccounts.signJwt",
            "iam.serviceAccounts.implicitDelegation",
        ),
        "can act as service accounts",
        (RHINO, hacktricks("iam")),
        EXCEPT_OWN_IDENTITY,
    ),
    Escalation(
        "account-restore",
        ("iam.serviceAccounts.enable", "iam.serviceAccounts.undelete"),
        "can restore service accounts together with their grants",
        (f"{DOCS}iam/docs/service-accounts-delete-undelete",),
    ),
    Escalation(
        "account-deletion",
        ("iam.serviceAccounts.delete",),
        "can delete service accounts, so that another account takes over a trusted e-mail address",
        (f"{DOCS}iam/docs/service-accounts-delete-undelete",),
        EXCEPT_OWN_IDENTITY,
    ),
    Escalation(
        "account-keys",
        ("iam.serviceAccountKeys.create", "iam.serviceAccountKeys.enable", "iam.serviceAccountKeys.upload"),
        "can create keys of service accounts, which outlive the grant",
        (RHINO, hacktricks("iam"), TAGS),
    ),
    Escalation(
        "roles",
        ("iam.roles.create", "iam.roles.update", "iam.roles.undelete"),
        "can add permissions to roles that are already granted",
        (RHINO, hacktricks("iam")),
    ),
    # In older roles the permissions of pools have no domain of the service: iam.workloadIdentity….
    Escalation(
        "federation",
        tuple(
            f"iam.*{kind}*.{verb}"
            for kind in ("workloadIdentityPool", "workforcePool", "oauthClient")
            for verb in ("create", "update", "undelete")
        ),
        "can decide which outside identities are trusted",
        (f"{DOCS}iam/docs/best-practices-for-using-workload-identity-federation",),
    ),
    Escalation(
        "constraints",
        ("orgpolicy.*.create", "orgpolicy.*.update", "orgpolicy.*.delete", "orgpolicy.policy.set"),
        "can remove the organization's constraints",
        (RHINO, hacktricks("orgpolicy")),
    ),
    # Boundaries add up: one more extends what a principal can access. One more deny policy removes nothing.
    Escalation(
        "restrictions",
        (
            "iam.*denypolicies.delete",
            "iam.*denypolicies.update",
            *(
                f"iam.*{kind}.{verb}"
                for kind in ("principalaccessboundarypolicies", "accesspolicies")
                for verb in ("bind", "create", "delete", "unbind", "update")
            ),
            "*.createPolicyBinding",
            "*.deletePolicyBinding",
            "*.updatePolicyBinding",
        ),
        "can remove policies that deny or restrict access",
        (f"{DOCS}iam/docs/principal-access-boundary-policies", f"{DOCS}iam/docs/deny-overview"),
    ),
    Escalation(
        "perimeters",
        tuple(
            f"accesscontextmanager.{kind}.{verb}"
            for kind in ("accessLevels", "gcpUserAccessBindings", "policies", "servicePerimeters")
            for verb in ("create", "update", "delete", "replaceAll", "commit")
            if verb in ("create", "update", "delete") or kind in ("accessLevels", "servicePerimeters")
            if verb != "commit" or kind == "servicePerimeters"
        ),
        "can fulfill conditions on access levels and open service perimeters",
        (f"{DOCS}access-context-manager/docs/overview",),
    ),
    Escalation(
        "hierarchy",
        ("resourcemanager.projects.move", "resourcemanager.folders.move"),
        "can move projects away from the policies and constraints that they inherit",
        (f"{DOCS}resource-manager/docs/moving-projects-folders",),
    ),
    Escalation(
        "tags",
        ("*.createTagBinding", "*.deleteTagBinding", "resourcemanager.tagValueBindings.*"),
        "can fulfill conditions on tags",
        (TAGS, f"{DOCS}iam/docs/tags-access-control"),
    ),
)
