"""Groups of permissions that escalate through secrets, objects, images and code that other principals use."""

from typing import Final

from .groups import DOCS, TAGS, WHOLE_PROJECT, Escalation, all_of, hacktricks

CONTENTS: Final[tuple[Escalation, ...]] = (
    Escalation(
        "data-restrictions",
        (
            *all_of("bigquery", "rowAccessPolicies", verbs=("create", "delete", "update")),
            "bigquery.rowAccessPolicies.overrideTimeTravelRestrictions",
            *all_of("bigquery", "dataPolicies", verbs=("attach", "create", "delete", "update")),
            *all_of("bigquery", "tables", verbs=("setCategory", "setColumnDataPolicy")),
            *all_of("firebaserules", "releases"),
            "binaryauthorization.policy.update",
            *all_of("binaryauthorization", "attestors"),
            "binaryauthorization.platformPolicies.replace",
            *all_of("managedkafka", "acls", verbs=("create", "update", "updateEntries")),
            *all_of("redis", "aclPolicies"),
        ),
        "can remove restrictions on data or images",
        (hacktricks("bigquery"), TAGS),
    ),
    Escalation(
        "secrets",
        (
            "secretmanager.versions.access",
            "parametermanager.parameterVersions.render",
            "parametermanager.templateVersions.render",
        ),
        "can read every secret of the project",
        (hacktricks("secretmanager"), f"{DOCS}secret-manager/parameter-manager/docs/access-control"),
        WHOLE_PROJECT,
    ),
    Escalation(
        "secret-replacement",
        (
            "secretmanager.versions.add",
            *all_of("parametermanager", "parameterVersions", "templateVersions"),
        ),
        "can replace the secrets and parameters that other principals use, in the whole project",
        (f"{DOCS}secret-manager/docs/add-secret-version",),
        WHOLE_PROJECT,
    ),
    Escalation(
        "encryption-keys",
        (
            "cloudkms.cryptoKeyVersions.useToDecapsulate",
            "cloudkms.cryptoKeyVersions.useToDecrypt",
            "cloudkms.cryptoKeyVersions.useToDecryptViaDelegation",
            "cloudkms.cryptoKeyVersions.useToSign",
        ),
        "can decrypt or sign with every key of the project",
        (hacktricks("kms"),),
        WHOLE_PROJECT,
    ),
    Escalation(
        "objects",
        ("storage.objects.create", "storage.objects.update", "storage.objects.move"),
        "can replace objects that other principals run or trust, in every bucket of the project",
        (hacktricks("storage"), hacktricks("composer")),
        WHOLE_PROJECT,
    ),
    Escalation(
        "images",
        (
            "artifactregistry.repositories.uploadArtifacts",
            "artifactregistry.repositories.createOnPush",
            "artifactregistry.repositories.update",
            "artifactregistry.files.upload",
            *all_of("artifactregistry", "tags"),
        ),
        "can replace images that other principals run, in every repository of the project",
        (hacktricks("artifact-registry"),),
        WHOLE_PROJECT,
    ),
    Escalation(
        "sources",
        (
            *all_of("source", "repos", verbs=("update", "updateProjectConfig", "updateRepoConfig")),
            *all_of("securesourcemanager", "repositories", verbs=("approvePullRequests", "push")),
            *all_of("securesourcemanager", "branchRules", "hooks"),
            "securesourcemanager.pullRequests.merge",
            *all_of("securesourcemanager", "sshkeys", verbs=("createAny",)),
        ),
        "can replace code that other principals run, in every repository of the project",
        (hacktricks("sourcerepos"),),
        WHOLE_PROJECT,
    ),
)
