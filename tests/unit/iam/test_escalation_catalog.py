"""Judgment of every predefined role, compared with a reviewed classification.

`python -m tests.unit.iam.test_escalation_catalog` writes the classification again after a change of the table
or the catalog. Review its difference: each line that changes is a role that users must admit differently.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cloudrun_identity.iam.escalation import SERVICES, UNKNOWN, Reach, escalating, group_of, reason_for
from cloudrun_identity.iam.escalation_table import SOURCES, TABLE, Escalation
from cloudrun_identity.iam.patterns import matches
from cloudrun_identity.iam.role_catalog import role_catalog

CLASSIFICATION = Path(__file__).with_name("escalating_roles.txt")
PUBLIC = Path(__file__).with_name("public_escalations.txt")
HEADER = """\
# Predefined roles that escalate on a project, with the groups of docs/reference/escalation.md that say why.
# All other roles of the catalog do not escalate.
"""
NOT_IN_THE_CATALOG = {"iam.serviceAccountKeys.upload"}
"""Permissions of the table that no predefined role has."""

# Roles that workloads usually need, and that guardrails must admit without allowEscalation.
ORDINARY = [
    "roles/run.invoker",
    "roles/run.viewer",
    "roles/cloudsql.client",
    "roles/logging.logWriter",
    "roles/monitoring.metricWriter",
    "roles/cloudtrace.agent",
    "roles/storage.objectViewer",
    "roles/pubsub.publisher",
    "roles/pubsub.subscriber",
    "roles/bigquery.dataEditor",
    "roles/bigquery.jobUser",
    "roles/datastore.user",
    "roles/spanner.databaseUser",
    "roles/cloudtasks.enqueuer",
    "roles/workflows.invoker",
    "roles/artifactregistry.reader",
    "roles/iam.securityReviewer",
    "roles/browser",
]
# Roles that were found to escalate by attacks, by group.
ATTACKED = {
    "roles/osconfig.osPolicyAssignmentAdmin": "machines",
    "roles/osconfig.patchJobExecutor": "machines",
    "roles/workstations.user": "shells",
    "roles/appengine.debugger": "shells",
    "roles/cloudbuild.tokenAccessor": "foreign-tokens",
    "roles/container.developer": "clusters",
    "roles/container.clusterAdmin": "clusters",
    "roles/iam.serviceAccountDeleter": "account-deletion",
    "roles/serviceusage.apiKeysViewer": "api-keys",
    "roles/dataform.editor": "code",
    "roles/ml.developer": "code",
    "roles/secretmanager.secretVersionAdder": "secret-replacement",
    "roles/storagetransfer.user": "code",
    "roles/resourcemanager.projectMover": "hierarchy",
}


def classification() -> Iterator[str]:
    """Yield the lines of the classification."""
    for role in role_catalog().values():
        groups = {group.name for each in role.permissions if (group := group_of(each))}
        if groups:
            yield f"{role.name}: {', '.join(sorted(groups))}"


def public() -> Iterator[tuple[str, str]]:
    """Yield the permissions of public catalogs, and the reason of those that are not in the table."""
    for line in PUBLIC.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            permission, _, *reason = line.split("\t")
            yield permission, "".join(reason)


def test_every_predefined_role_is_classified_as_reviewed() -> None:
    kept = CLASSIFICATION.read_text(encoding="utf-8").removeprefix(HEADER).splitlines()
    assert list(classification()) == kept, "run python -m tests.unit.iam.test_escalation_catalog and review"


def test_permissions_of_public_catalogs_are_in_the_table_or_excused() -> None:
    for permission, reason in public():
        assert bool(reason_for(permission)) is not bool(reason), permission


def test_every_reason_against_a_public_catalog_is_explained() -> None:
    text = PUBLIC.read_text(encoding="utf-8")
    assert all(f"\n# {reason}: " in text for _, reason in public() if reason)


@pytest.mark.parametrize("role", ORDINARY)
def test_ordinary_role_does_not_escalate_on_a_project(role: str) -> None:
    assert escalating(role_catalog()[role].permissions) == frozenset()


@pytest.mark.parametrize(("role", "group"), ATTACKED.items())
def test_role_of_a_known_attack_escalates(role: str, group: str) -> None:
    found = {found.name for each in role_catalog()[role].permissions if (found := group_of(each))}
    assert group in found


@pytest.mark.parametrize("group", TABLE, ids=lambda group: group.name)
def test_every_pattern_matches_a_permission_of_the_catalog(group: Escalation) -> None:
    known = {*role_catalog().permissions, *NOT_IN_THE_CATALOG}
    for pattern in group.patterns:
        assert pattern in known or any(matches(each, pattern) for each in known), pattern


def test_groups_have_different_names_and_reasons() -> None:
    assert len({group.name for group in TABLE}) == len({group.reason for group in TABLE}) == len(TABLE)


def test_every_group_names_its_sources() -> None:
    assert all(source.startswith("https://") for group in TABLE for source in (*group.sources, *SOURCES))
    assert all(group.sources for group in TABLE)


@pytest.mark.parametrize("reach", Reach)
@pytest.mark.parametrize("service", sorted(SERVICES))
def test_unknown_permission_of_a_covered_service_escalates(service: str, reach: Reach) -> None:
    assert reason_for(f"{service}.widgets.frobnicate", reach) == UNKNOWN
    assert escalating([f"{service}.widgets.create"], reach)


def test_unknown_permission_of_another_service_does_not_escalate() -> None:
    assert reason_for("pubsub.widgets.frobnicate") == ""


def test_unknown_permission_to_read_escalates_where_reading_does() -> None:
    assert reason_for("run.widgets.get") == ""
    assert reason_for("run.widgets.list") == ""
    assert reason_for("container.widgets.get") == UNKNOWN


def test_no_permission_of_the_catalog_is_unknown() -> None:
    assert UNKNOWN not in {reason_for(permission) for permission in role_catalog().permissions}


if __name__ == "__main__":
    CLASSIFICATION.write_text(HEADER + "".join(f"{line}\n" for line in classification()), encoding="utf-8")
