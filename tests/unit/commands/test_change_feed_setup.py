"""The commands that set up a change feed."""

from typing import Any

from cloudrun_identity.api import ManagedProject
from cloudrun_identity.commands.change_feed_setup import feed_commands

OPS = "projects/ops-1234/subscriptions/audit"
OPERATOR = "serviceAccount:operator@ops-1234.iam.gserviceaccount.com"


def project(name: str, feed: Any = None, grants: Any = ()) -> ManagedProject:
    spec = {
        "projectID": f"{name}-1234",
        "namespaces": {"names": ["payments"]},
        "guardrails": {"grants": list(grants)},
        **({"changeFeed": feed} if feed is not None else {}),
    }
    return ManagedProject.model_validate({"metadata": {"name": name}, "spec": spec})


def script(*projects: ManagedProject, default: str = "") -> list[str]:
    return list(feed_commands(projects, OPERATOR, default))


def test_project_without_a_feed_needs_nothing() -> None:
    assert script(project("shop")) == []


def test_subscription_topic_sink_and_grants_are_created() -> None:
    assert [line for line in script(project("shop", {"subscription": OPS})) if line.startswith("gcloud")] == [
        "gcloud pubsub topics create audit --project=ops-1234",
        "gcloud pubsub subscriptions create audit --project=ops-1234 --topic=audit --ack-deadline=60 "
        "--message-retention-duration=1h --expiration-period=never",
        "gcloud pubsub subscriptions add-iam-policy-binding audit --project=ops-1234 "
        f"--member={OPERATOR} --role=roles/pubsub.subscriber",
        "gcloud logging sinks create cloudrun-identity pubsub.googleapis.com/projects/ops-1234/topics/audit "
        '--project=shop-1234 --log-filter="$(cat filter.txt)"',
        "gcloud pubsub topics add-iam-policy-binding audit --project=ops-1234 "
        '--member="$(gcloud logging sinks describe cloudrun-identity --project=shop-1234 '
        "--format='value(writerIdentity)')\" --role=roles/pubsub.publisher",
    ]


def test_shared_subscription_is_created_once_and_each_project_has_a_sink() -> None:
    lines = script(project("shop"), project("bank", {"reportActors": True}), default=OPS)
    assert sum("subscriptions create" in line for line in lines) == 1
    assert sum("sinks create" in line for line in lines) == 2


def filter_of(lines: list[str], number: int = 0) -> str:
    start = [index for index, line in enumerate(lines) if line.startswith("cat >filter.txt")][number]
    return lines[start + 1]


def test_filter_has_only_what_the_guardrails_admit() -> None:
    plain = filter_of(script(project("shop", {"subscription": OPS})))
    assert plain.startswith('logName="projects/shop-1234/logs/cloudaudit.googleapis.com%2Factivity" AND (')
    assert '"google.iam.admin.v1.DisableServiceAccount"' in plain
    assert '"google.cloud.run.v1.Services.ReplaceService"' in plain
    assert "storage.googleapis.com" not in plain
    buckets = {
        "roles": ["roles/storage.objectViewer"],
        "targetKinds": ["StorageBucket"],
        "names": ["exports"],
        "members": ["identities"],
    }
    admitted = filter_of(script(project("shop", {"subscription": OPS}, [buckets])))
    assert '(protoPayload.serviceName="storage.googleapis.com" AND ' in admitted
    assert "storage.setIamPermissions" in admitted


def test_folder_has_a_sink_of_its_own() -> None:
    folder = {
        "roles": ["roles/browser"],
        "targetKinds": ["Folder"],
        "names": ["556677889900"],
        "members": ["identities"],
        "namespaces": ["payments"],
    }
    lines = script(project("shop", {"subscription": OPS}, [folder]))
    assert any("sinks create" in line and "--folder=556677889900" in line for line in lines)
    assert filter_of(lines, 1).startswith('logName="folders/556677889900/logs/')


def test_filter_fits_the_limit_of_a_sink() -> None:
    # 20,000 characters: https://cloud.google.com/logging/quotas
    assert len(filter_of(script(project("shop", {"subscription": OPS})))) < 10_000
