"""Attack targets: projects, accounts, workloads, secrets and roles of others, by reference and in every form.

Each attack is one object. `test_attacks_steps` has attacks with several steps.
"""

from collections.abc import Iterator

import pytest

from tests.e2e.attempts import Attempts, refused_at_once
from tests.e2e.tenants import (
    ATTACH,
    CARE_OF_AN_ACCOUNT,
    ON_ACCOUNT,
    ON_PROJECT,
    READING_A_ROLE,
    RUN_AS,
    Attempt,
    Tenants,
)

LOOKING_AFTER_ONES_OWN = ("IAM/GetServiceAccount", "IAM/ListServiceAccountKeys")
"""The older of two conflicting objects is reconciled again when the other one is deleted."""


EXCLUSIVELY = (
    "{authority: Exclusive, managementPolicy: %s, target: {kind: Project}, role: roles/run.invoker, "
    + ("members: [{principal: 'user:mallory@example.com'}]}")
)

ON_WORKLOAD = (
    "{target: {kind: %s, location: europe-west1, name: %s}, role: roles/run.invoker, "
    "members: [{principal: 'user:mallory@example.com'}]}"
)
CONDITIONAL = (
    "{target: {kind: Project}, role: roles/logging.viewer%s, "
    "members: [{principal: 'user:mallory@example.com'}]}"
)
CONDITIONS = {
    "no condition": "",
    "a condition that is always true": ', condition: {title: limited, expression: "true"}',
    "a condition that is widened": ', condition: {title: limited, expression: "$condition || true"}',
    "a condition in a title": ', condition: {title: "$condition", expression: "1 < 2"}',
    "a condition in a comment": ', condition: {title: limited, expression: "true // $condition"}',
    "a condition with a blank more": ', condition: {title: limited, expression: " $condition"}',
}
ON_SECRET = "{target: {kind: Secret, name: %s}, role: roles/secretmanager.%s, members: [%s]}"
OWN_MEMBER = "{identityRef: {name: mallory}}"
SECRETS = {
    "a secret with another name": ON_SECRET % ("checkout-key", "secretAccessor", OWN_MEMBER),
    "a secret with a name that ends like one's own": ON_SECRET
    % ("not-mallory-key", "secretAccessor", OWN_MEMBER),
    "a secret with a name in another casing": ON_SECRET % ("Mallory-key", "secretAccessor", OWN_MEMBER),
    "an own secret, for a user": ON_SECRET
    % ("mallory-key", "secretAccessor", "{principal: 'user:mallory@example.com'}"),
    "an own secret, with another role": ON_SECRET % ("mallory-key", "secretVersionAdder", OWN_MEMBER),
    "an own secret, with the role to grant others": ON_SECRET % ("mallory-key", "admin", OWN_MEMBER),
}
OTHER_TARGETS = {
    "an organization": "kind: Organization, name: '123456789012'",
    "a folder": "kind: Folder, name: '123456789012'",
    "a bucket": "kind: StorageBucket, name: acme-ledgers",
    "a topic": "kind: PubSubTopic, name: orders",
    "a subscription": "kind: PubSubSubscription, name: orders-all",
    "a regional secret": "kind: RegionalSecret, location: europe-west1, name: mallory-key",
    "a repository": "kind: ArtifactRegistryRepository, location: europe-west1, name: images",
    "a queue": "kind: CloudTasksQueue, location: europe-west1, name: refunds",
    "a key ring": "kind: KMSKeyRing, location: europe-west1, name: tokens",
    "a crypto key": "kind: KMSCryptoKey, location: europe-west1, keyRing: tokens, name: signing",
    "a Spanner instance": "kind: SpannerInstance, name: ledger",
    "a Spanner database": "kind: SpannerDatabase, instance: ledger, name: bookings",
    "a Bigtable instance": "kind: BigtableInstance, name: events",
}
ON_RESOURCE = "{target: {resource: %s}, role: roles/cloudfunctions.viewer, members: [%s]}"
OWN_FUNCTION = (
    "//cloudfunctions.googleapis.com/projects/$scene/locations/europe-west1/functions/mallory-resize"
)
INADMISSIBLE_RESOURCES = {
    "another team's function": OWN_FUNCTION.replace("mallory", "checkout"),
    "an own function in another location": OWN_FUNCTION.replace("europe-west1", "us-central1"),
    "an API that no guardrail lists": OWN_FUNCTION.replace("cloudfunctions", "eventarc").replace(
        "functions", "triggers"
    ),
}
MISNAMED_RESOURCES = {
    "a function of another project": (
        OWN_FUNCTION.replace("$scene", "$vault"),
        "is not in project $scene; set projectRef",
    ),
    "a function of another project by its number": (
        OWN_FUNCTION.replace("$scene", "$vault_number"),
        "names its project by number; write projects/$scene",
    ),
    "an own secret as a resource": (
        "//secretmanager.googleapis.com/projects/$scene/secrets/mallory-key",
        "is a secret; use {kind: Secret, name: mallory-key}",
    ),
    "an own workload as a resource": (
        "//run.googleapis.com/projects/$scene/locations/europe-west1/services/mallory-web",
        "is a service; use {kind: Service, location: europe-west1, name: mallory-web}",
    ),
    "a powerful account as a resource": (
        "//iam.googleapis.com/projects/$scene/serviceAccounts/$powerful",
        "is a service account; use {kind: ServiceAccount, email: $powerful}",
    ),
}
ATTACKS = {
    **{
        name: Attempt(
            ON_RESOURCE % (resource, OWN_MEMBER),
            "guardrails.grants of ManagedProject $scene does not admit",
            may_call=(READING_A_ROLE,),
        )
        for name, resource in INADMISSIBLE_RESOURCES.items()
    },
    **{
        name: Attempt(ON_RESOURCE % (resource, OWN_MEMBER), refusal, reason="InvalidSpec")
        for name, (resource, refusal) in MISNAMED_RESOURCES.items()
    },
    "an own function, for everybody": Attempt(
        ON_RESOURCE % (OWN_FUNCTION, "{principal: allUsers}"),
        "does not admit roles/cloudfunctions.viewer",
        may_call=(READING_A_ROLE,),
    ),
    "a function of a project that is not delegated": Attempt(
        (ON_RESOURCE % (OWN_FUNCTION.replace("$scene", "$vault"), OWN_MEMBER)).replace(
            "{target", "{projectRef: {name: $vault}, target", 1
        ),
        "does not admit namespace $mallory",
    ),
    **{
        f"a role on {name}": Attempt(
            f"{{target: {{{target}}}, role: roles/logging.viewer, members: [{OWN_MEMBER}]}}",
            "does not admit roles/logging.viewer",
            may_call=(READING_A_ROLE,),
        )
        for name, target in OTHER_TARGETS.items()
    },
    **{
        f"a role with {name}": Attempt(
            CONDITIONAL % condition, "does not admit roles/logging.viewer", may_call=(READING_A_ROLE,)
        )
        for name, condition in CONDITIONS.items()
    },
    **{
        name: Attempt(spec, "guardrails.grants of ManagedProject $scene", may_call=(READING_A_ROLE,))
        for name, spec in SECRETS.items()
    },
    "an own workload in another location": Attempt(
        (ATTACH % ("mallory-web", "{name: mallory}")).replace("europe-west1", "us-central1"),
        "guardrails.workloads",
        "IdentityAttachment",
    ),
    "adopt a powerful account": Attempt(
        "{accountID: powerful, adoption: Adopt}", "does not list $powerful", "CloudRunIdentity"
    ),
    "adopt the account that the operator acts as": Attempt(
        "{accountID: credential, adoption: Adopt}", "the operator acts as", "CloudRunIdentity"
    ),
    "grant on a powerful account by its e-mail": Attempt(
        ON_ACCOUNT % "$powerful", "does not list $powerful", may_call=(READING_A_ROLE,)
    ),
    "grant on a default account, though it is listed": Attempt(
        ON_ACCOUNT % "$default", "is a default service account"
    ),
    "grant on the operator's account, though it is listed": Attempt(
        ON_ACCOUNT % "$credential", "the operator acts as"
    ),
    "grant on another team's identity by its e-mail": Attempt(
        ON_ACCOUNT % "checkout@$scene.iam.gserviceaccount.com", "belongs to identity:$scene/checkout"
    ),
    "attach to another team's workload": Attempt(
        ATTACH % ("checkout", "{name: mallory}"), "guardrails.workloads", "IdentityAttachment"
    ),
    "attach another team's identity to one's own workload": Attempt(
        ATTACH % ("mallory-web", "{name: checkout, namespace: $scene}"),
        "does not list namespace $mallory in allowedNamespaces",
        "IdentityAttachment",
    ),
    "run as a powerful account by its e-mail": Attempt(
        RUN_AS % "$powerful", "does not list $powerful", "IdentityAttachment"
    ),
    "run as a default account, though it is listed": Attempt(
        RUN_AS % "$default", "is a default service account", "IdentityAttachment"
    ),
    "run as the operator's account, though it is listed": Attempt(
        RUN_AS % "$credential", "the operator acts as", "IdentityAttachment"
    ),
    "run as another team's identity by its e-mail": Attempt(
        RUN_AS % "checkout@$scene.iam.gserviceaccount.com", "allowedNamespaces", "IdentityAttachment"
    ),
    "a predefined role that escalates": Attempt(
        ON_PROJECT % "roles/run.admin", "without allowEscalation", may_call=(READING_A_ROLE,)
    ),
    "a custom role that escalates": Attempt(
        ON_PROJECT % "projects/$scene/roles/harmless", "setIamPolicy", may_call=(READING_A_ROLE,)
    ),
    "a role that no guardrail admits": Attempt(
        ON_PROJECT % "roles/owner", "does not admit roles/owner", may_call=(READING_A_ROLE,)
    ),
    "a role that escalates under a condition that is always true": Attempt(
        "{target: {kind: Project}, role: roles/run.admin, "
        "members: [{principal: 'user:mallory@example.com'}], "
        "condition: {title: always, expression: 'true || false'}}",
        "without allowEscalation",
        may_call=(READING_A_ROLE,),
    ),
    "a role of another project": Attempt(
        ON_PROJECT % "projects/$vault/roles/any", "belongs to another project"
    ),
    "a project that is not delegated": Attempt(
        "{projectRef: {name: $vault}, target: {kind: Project}, role: roles/viewer, "
        "members: [{principal: 'user:mallory@example.com'}]}",
        "does not admit namespace $mallory",
    ),
    "an identity in a project that is not delegated": Attempt(
        "{projectRef: {name: $vault}, accountID: mallory-account}",
        "does not admit namespace $mallory",
        "CloudRunIdentity",
        may_call=CARE_OF_AN_ACCOUNT,
    ),
    "reading who holds a role, by observing it": Attempt(
        "{managementPolicy: Observe, target: {kind: Project}, role: roles/owner, "
        "members: [{principal: 'user:mallory@example.com'}]}",
        "does not admit roles/owner",
        may_call=(READING_A_ROLE,),
    ),
    "emptying a binding": Attempt(EXCLUSIVELY % "Manage", "without exclusive", may_call=(READING_A_ROLE,)),
    "reading a binding by observing it exclusively": Attempt(
        EXCLUSIVELY % "Observe", "without exclusive", may_call=(READING_A_ROLE,)
    ),
    "a secret": Attempt(
        "{target: {kind: Secret, name: stripe-key}, role: roles/secretmanager.secretAccessor, "
        "members: [{identityRef: {name: mallory}}]}",
        "guardrails.grants of ManagedProject $scene does not admit",
        may_call=(READING_A_ROLE,),
    ),
    "who may read a secret, by observing it": Attempt(
        "{managementPolicy: Observe, target: {kind: Secret, name: stripe-key}, "
        "role: roles/secretmanager.secretAccessor, members: [{identityRef: {name: mallory}}]}",
        "guardrails.grants of ManagedProject $scene does not admit",
        may_call=(READING_A_ROLE,),
    ),
    "a secret of a project that is not delegated": Attempt(
        "{projectRef: {name: $vault}, target: {kind: Secret, name: stripe-key}, "
        "role: roles/secretmanager.secretAccessor, members: [{principal: 'user:mallory@example.com'}]}",
        "does not admit namespace $mallory",
    ),
    "invoking another team's workload": Attempt(
        ON_WORKLOAD % ("Service", "checkout"), "guardrails.workloads", may_call=(READING_A_ROLE,)
    ),
    "invoking a job that does not exist yet": Attempt(
        ON_WORKLOAD % ("Job", "payroll"), "guardrails.workloads", may_call=(READING_A_ROLE,)
    ),
    "a workload with a name that begins like one's own": Attempt(
        ATTACH % ("mallor", "{name: mallory}"),
        "guardrails.workloads",
        "IdentityAttachment",
    ),
    "who another team's workload runs as, by observing it": Attempt(
        ATTACH.replace("{workload", "{managementPolicy: Observe, workload", 1)
        % ("checkout", "{name: mallory}"),
        "guardrails.workloads",
        "IdentityAttachment",
    ),
    "another team's workload, to restore it": Attempt(
        ATTACH.replace("{workload", "{deletionPolicy: Restore, workload", 1)
        % ("checkout", "{name: mallory}"),
        "guardrails.workloads",
        "IdentityAttachment",
    ),
    "a workload of a project that is not delegated": Attempt(
        ATTACH.replace("{workload", "{projectRef: {name: $vault}, workload", 1)
        % ("mallory-web", "{name: mallory}"),
        "does not admit namespace $mallory",
        "IdentityAttachment",
    ),
    "a role on a project that is not delegated, for an own identity": Attempt(
        "{accountID: mallory-elsewhere, roles: [{role: roles/run.viewer, projectRef: {name: $vault}}]}",
        "does not admit namespace $mallory",
        "CloudRunIdentity",
        may_call=CARE_OF_AN_ACCOUNT,
    ),
    "a role on another team's workload, for an own identity": Attempt(
        "{accountID: mallory-invoker, roles: [{role: roles/run.invoker, "
        "target: {kind: Service, location: europe-west1, name: checkout}}]}",
        "guardrails.workloads",
        "CloudRunIdentity",
        may_call=CARE_OF_AN_ACCOUNT,
    ),
    "a role on a powerful account, for an own identity": Attempt(
        "{accountID: mallory-actor, roles: [{role: roles/iam.serviceAccountUser, "
        "target: {kind: ServiceAccount, email: $powerful}}]}",
        "does not list $powerful",
        "CloudRunIdentity",
        may_call=CARE_OF_AN_ACCOUNT,
    ),
    "a basic role, for an own identity": Attempt(
        "{accountID: mallory-owner, roles: [{role: roles/owner}]}",
        "roles/owner",
        "CloudRunIdentity",
        may_call=CARE_OF_AN_ACCOUNT,
    ),
    "a secret, for an own identity": Attempt(
        "{accountID: mallory-reader, roles: [{role: roles/secretmanager.secretAccessor, "
        "target: {kind: Secret, name: stripe-key}}]}",
        "guardrails.grants of ManagedProject $scene does not admit",
        "CloudRunIdentity",
        may_call=CARE_OF_AN_ACCOUNT,
    ),
    "an account of another project by its e-mail": Attempt(
        ON_ACCOUNT % "operator@acme-ops.iam.gserviceaccount.com", "the operator acts as"
    ),
    "a service agent of Google by its e-mail": Attempt(
        ON_ACCOUNT % "$vault_agent", "does not list $vault_agent", may_call=(READING_A_ROLE,)
    ),
    "run as a service agent of Google": Attempt(
        RUN_AS % "$vault_agent", "does not list $vault_agent", "IdentityAttachment"
    ),
    "an own account, for a role of another project": Attempt(
        "{target: {kind: ServiceAccount, identityRef: {name: mallory}}, role: projects/$vault/roles/any, "
        "members: [{principal: 'user:mallory@example.com'}]}",
        "belongs to another project",
    ),
    "a powerful account, by observing its adoption": Attempt(
        "{accountID: powerful, adoption: Adopt, managementPolicy: Observe}",
        "does not list $powerful",
        "CloudRunIdentity",
    ),
    "a default account, by adopting it": Attempt(
        "{accountID: powerful, adoption: Adopt, existingGrants: Claim, deletionPolicy: Delete}",
        "does not list $powerful",
        "CloudRunIdentity",
    ),
    "a role made by the platform team, by observing it": Attempt(
        "{roleID: opsHandmade, permissions: [run.jobs.get], adoption: Adopt, managementPolicy: Observe}",
        "does not list role opsHandmade",
        "CustomRole",
    ),
    "a role with permissions that are not listed": Attempt(
        "{roleID: reader, permissions: [storage.objects.get]}",
        "does not admit storage.objects.get",
        "CustomRole",
    ),
    "a project without a ManagedProject": Attempt(
        "{projectRef: {name: acme-nowhere}, target: {kind: Project}, role: roles/viewer, "
        "members: [{principal: 'user:mallory@example.com'}]}",
        "acme-nowhere does not exist",
        reason="DependencyNotFound",
        is_final=False,
    ),
    "a custom role of another namespace, by a field that does not exist": Attempt(
        "{target: {kind: Project}, customRoleRef: {name: payrole, namespace: $scene}, "
        "members: [{principal: 'user:mallory@example.com'}]}",
        "does not exist",
        reason="DependencyNotFound",
        is_final=False,
    ),
    "an account of another namespace, by a field that does not exist": Attempt(
        "{target: {kind: ServiceAccount, identityRef: {name: checkout, namespace: $scene}}, "
        "role: roles/iam.serviceAccountTokenCreator, members: [{principal: 'user:mallory@example.com'}]}",
        "$mallory/checkout does not exist",
        reason="DependencyNotFound",
        is_final=False,
    ),
    "a key of another namespace's identity, by a field that does not exist": Attempt(
        "{identityRef: {name: checkout, namespace: $scene}, secretName: stolen}",
        "guardrails.keys",
        "IdentityKey",
    ),
    "another team's account, by declaring it too": Attempt(
        "{accountID: checkout}",
        "An object of another namespace declares the same resource",
        "CloudRunIdentity",
        "Conflict",
        may_call=LOOKING_AFTER_ONES_OWN,
    ),
}

REFUSED_AT_ONCE = {
    "a path in an account's id": ("CloudRunIdentity", "{accountID: ../../x}", "spec.accountID"),
    "a path in a role": ("IAMBinding", ON_PROJECT % "projects/x/roles/../../y/roles/z", "spec.role"),
    "a path in an e-mail": (
        "IAMBinding",
        ON_ACCOUNT % "x/../../../victim/serviceAccounts/y@z",
        "spec.target.email",
    ),
    "a path in a location": (
        "IAMBinding",
        "{target: {kind: Service, location: europe-west1/services/x, name: y}, role: roles/run.invoker, "
        "members: [{principal: 'user:a@example.com'}]}",
        "spec.target.location",
    ),
    "a path in a workload's name": (
        "IdentityAttachment",
        ATTACH % ("../jobs/x", "{name: mallory}"),
        "spec.workload.name",
    ),
    "a path in a secret's name": (
        "IAMBinding",
        "{target: {kind: Secret, name: ../../victim/secrets/x}, role: roles/secretmanager.secretAccessor, "
        "members: [{principal: 'user:a@example.com'}]}",
        "spec.target.name",
    ),
    "an account's id in capitals": ("CloudRunIdentity", "{accountID: Checkout}", "spec.accountID"),
    "an account's e-mail in capitals": (
        "IAMBinding",
        ON_ACCOUNT % "POWERFUL@$scene.iam.gserviceaccount.com",
        "spec.target.email",
    ),
    "an account's e-mail with a dot at its end": ("IdentityAttachment", RUN_AS % "$powerful.", "spec.email"),
    "an account by its unique id": ("IdentityAttachment", RUN_AS % "'103456789012345678901'", "spec.email"),
    "an account as a resource": (
        "IdentityAttachment",
        RUN_AS % "projects/-/serviceAccounts/powerful@$scene.iam.gserviceaccount.com",
        "spec.email",
    ),
    "a secret as a resource": (
        "IAMBinding",
        "{target: {kind: Secret, name: projects/acme-vault/secrets/stripe-key}, "
        "role: roles/secretmanager.secretAccessor, members: [{principal: 'user:a@example.com'}]}",
        "spec.target.name",
    ),
    "a host that is not Google's": (
        "IAMBinding",
        ON_RESOURCE % ("//evil.example.com/projects/$scene/functions/mallory-x", OWN_MEMBER),
        "spec.target.resource",
    ),
    "a host of a region": (
        "IAMBinding",
        ON_RESOURCE % (OWN_FUNCTION.replace("//", "//europe-west1-"), OWN_MEMBER),
        "spec.target.resource",
    ),
    "a path in a resource": (
        "IAMBinding",
        ON_RESOURCE % (f"{OWN_FUNCTION}/../checkout", OWN_MEMBER),
        "spec.target.resource",
    ),
    "a resource in any project": (
        "IAMBinding",
        ON_RESOURCE % (OWN_FUNCTION.replace("$scene", "-"), OWN_MEMBER),
        "spec.target.resource",
    ),
    "a resource with a kind that has a name": (
        "IAMBinding",
        ON_RESOURCE % (f"'{OWN_FUNCTION}', kind: Secret, name: mallory-key", OWN_MEMBER),
        "spec.target.resource",
    ),
    "a name for a project": (
        "IAMBinding",
        "{target: {kind: Project, name: acme-vault}, role: roles/viewer, "
        "members: [{principal: 'user:a@example.com'}]}",
        "spec.target.name",
    ),
    "an unknown kind of target": (
        "IAMBinding",
        "{target: {kind: BigQueryDataset, name: sales}, role: roles/viewer, "
        "members: [{principal: 'user:a@example.com'}]}",
        "spec.target.kind",
    ),
    "a pattern as a role": ("IAMBinding", ON_PROJECT % "roles/*", "spec.role"),
    "a role of an organization by its name": (
        "IAMBinding",
        ON_PROJECT % "organizations/acme/roles/x",
        "spec.role",
    ),
    "a pattern as a permission": (
        "CustomRole",
        "{roleID: all, permissions: ['run.*']}",
        "spec.permissions[0]",
    ),
    "a permission in capitals": (
        "CustomRole",
        "{roleID: all, permissions: [Iam.serviceAccounts.actAs]}",
        "spec.permissions[0]",
    ),
    "a path in a role's id": (
        "CustomRole",
        "{roleID: ../../roles/x, permissions: [run.jobs.get]}",
        "spec.roleID",
    ),
    "a path in a Secret's name": (
        "IdentityKey",
        "{identityRef: {name: mallory}, secretName: ../x}",
        "spec.secretName",
    ),
    "a role and a reference to one": (
        "IAMBinding",
        "{target: {kind: Project}, role: roles/viewer, customRoleRef: {name: x}, "
        "members: [{principal: 'user:a@example.com'}]}",
        "spec",
    ),
    "two members in one entry": (
        "IAMBinding",
        "{target: {kind: Project}, role: roles/viewer, "
        "members: [{principal: 'user:a@example.com', identityRef: {name: checkout}}]}",
        "spec.members[0]",
    ),
    "the public as the user of an account": (
        "CloudRunIdentity",
        "{accountID: mallory-public, tokenCreators: [{principal: allUsers}]}",
        "spec.tokenCreators",
    ),
    "more members than a binding has": (
        "IAMBinding",
        "{target: {kind: Project}, role: roles/viewer, members: ["
        + ", ".join(f"{{principal: 'user:u{number}@example.com'}}" for number in range(1501))
        + "]}",
        "spec.members",
    ),
    "a condition on a basic role": (
        "IAMBinding",
        "{target: {kind: Project}, role: roles/viewer, members: [{principal: 'user:a@example.com'}], "
        "condition: {title: t, expression: 'true'}}",
        "spec.condition",
    ),
}


@pytest.fixture(scope="module")
def attempts(two_teams: Tenants) -> Iterator[Attempts]:
    made = Attempts(two_teams, ATTACKS)
    yield made
    made.end()


@pytest.mark.parametrize("title", ATTACKS)
def test_attack_is_refused_without_calls_to_google(attempts: Attempts, title: str) -> None:
    attempts.check(title)


@pytest.mark.parametrize(("kind", "spec", "field"), REFUSED_AT_ONCE.values(), ids=REFUSED_AT_ONCE)
def test_crafted_names_are_refused_by_the_api_server(
    tenants: Tenants, kind: str, spec: str, field: str
) -> None:
    refused_at_once(tenants, tenants.manifest(kind, spec), field)
