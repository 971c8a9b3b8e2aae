"""The gcloud commands that set up the change feed of projects: sink, topic, subscription and grants."""

import shlex
from collections.abc import Iterable, Iterator

from cloudrun_identity.api import TARGET_KINDS, ManagedProject, TargetKind, kinds_where
from cloudrun_identity.api.change_feed import subscription_parts
from cloudrun_identity.gcp.audit_methods import audited_methods
from cloudrun_identity.iam.delegation import entries_on, policy_permissions

SINK = "cloudrun-identity"


def feed_commands(projects: Iterable[ManagedProject], operator: str, default: str = "") -> Iterator[str]:
    """Yield the lines of a shell script that sets up the change feeds of projects.

    `operator` is the member that pulls, and `default` the subscription of projects that name none. Each
    subscription is created once.
    """
    created: set[str] = set()
    for project in projects:
        declared = project.spec.change_feed
        subscription = (declared.subscription if declared else None) or default
        if not subscription:
            continue
        home, name = subscription_parts(subscription)
        if subscription not in created:
            created.add(subscription)
            yield from _subscription(home, name, operator)
        yield from _sinks(project, home, name)


def _subscription(home: str, name: str, operator: str) -> Iterator[str]:
    quoted, where = shlex.quote(name), f"--project={shlex.quote(home)}"
    yield f"# Change feed projects/{home}/subscriptions/{name}: pulled by {operator}"
    yield f"gcloud pubsub topics create {quoted} {where}"
    yield subscription_command(home, name)
    yield subscriber_command(home, name, operator)


def subscription_command(home: str, name: str) -> str:
    """Return the command that creates the subscription. Its topic has the same name."""
    quoted, where = shlex.quote(name), f"--project={shlex.quote(home)}"
    return (
        f"gcloud pubsub subscriptions create {quoted} {where} --topic={quoted} --ack-deadline=60 "
        "--message-retention-duration=1h --expiration-period=never"
    )


def subscriber_command(home: str, name: str, operator: str) -> str:
    """Return the command that permits the operator to pull the subscription."""
    return (
        f"gcloud pubsub subscriptions add-iam-policy-binding {shlex.quote(name)} "
        f"--project={shlex.quote(home)} --member={shlex.quote(operator)} --role=roles/pubsub.subscriber"
    )


def _sinks(project: ManagedProject, home: str, name: str) -> Iterator[str]:
    yield f"# ManagedProject {project.metadata.name}: route the audit log of project {project.project_id}"
    kinds = [
        kind
        for kind, descriptor in TARGET_KINDS.items()
        if not descriptor.contains_projects and (descriptor.default_roles or entries_on(project, kind))
    ]
    methods = dict(audited_methods(kinds))
    for service in policy_permissions(project):
        methods.setdefault(service, frozenset())
    log = f"projects/{project.project_id}/logs/cloudaudit.googleapis.com%2Factivity"
    yield from _sink(f"--project={shlex.quote(project.project_id)}", _filter(log, methods), home, name)
    for kind in kinds_where(lambda kind: kind.contains_projects):
        collection = TARGET_KINDS[kind].resource_pattern.partition("/")[0]
        for number in sorted({each for entry in entries_on(project, kind) for each in entry.names or ()}):
            log = f"{collection}/{number}/logs/cloudaudit.googleapis.com%2Factivity"
            policies = {TARGET_KINDS[kind].host: frozenset(TARGET_KINDS[kind].audit_methods)}
            parent = f"--{_PARENTS[kind]}={shlex.quote(number)}"
            yield f"# guardrails.grants lists {collection}/{number}"
            yield from _sink(parent, _filter(log, policies), home, name)


def _sink(parent: str, narrowest: str, home: str, topic: str) -> Iterator[str]:
    destination = shlex.quote(f"pubsub.googleapis.com/projects/{home}/topics/{topic}")
    yield "cat >filter.txt <<'EOF'"
    yield narrowest
    yield "EOF"
    yield f'gcloud logging sinks create {SINK} {destination} {parent} --log-filter="$(cat filter.txt)"'
    yield (
        f"gcloud pubsub topics add-iam-policy-binding {shlex.quote(topic)} --project={shlex.quote(home)} "
        f"--member=\"$(gcloud logging sinks describe {SINK} {parent} --format='value(writerIdentity)')\" "
        "--role=roles/pubsub.publisher"
    )


def _filter(log: str, methods: dict[str, frozenset[str]]) -> str:
    """Return a filter in the Logging query language. A service without methods has any that set a policy."""
    clauses = []
    for service in sorted(methods):
        names = " OR ".join(f'"{name}"' for name in sorted(methods[service]))
        method = f"protoPayload.methodName=({names})" if names else 'protoPayload.methodName:"SetIamPolicy"'
        clauses.append(f'  (protoPayload.serviceName="{service}" AND {method})')
    return f'logName="{log}" AND (\n' + " OR\n".join(clauses) + "\n)"


_PARENTS = {TargetKind.FOLDER: "folder", TargetKind.ORGANIZATION: "organization"}
