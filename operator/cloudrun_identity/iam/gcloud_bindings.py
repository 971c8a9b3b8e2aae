"""gcloud commands that grant and remove roles, for grants that no object declares."""

import shlex
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from cloudrun_identity.api import TargetKind

from .grants import IAMCondition, Target


def binding_command(target: Target, role: str, member: str, condition: IAMCondition | None = None) -> str:
    """Return the command that adds the member to the policy of a target of one of the kinds in `COMMANDS`."""
    resource = COMMANDS[target.kind].format(
        add="add-iam-policy-binding",
        project=target.project_id,
        location=target.location,
        parent=target.parent,
        name=target.name,
        resource=target.resource,
    )
    limited = f"title={condition.title},expression={condition.expression}" if condition else ""
    when = f" --condition={shlex.quote(limited)}" if condition else ""
    return f"gcloud {resource} --member={member} --role={role}{when}"


def removal_command(project_id: str, role: str, member: str, expression: str = "") -> str:
    """Return the command that takes a role on a project from a member.

    gcloud removes a conditional grant only by its whole condition. Of the condition, `expression` is known;
    the reader replaces TITLE. A comma in it requires another delimiter.
    Sources: https://cloud.google.com/sdk/gcloud/reference/projects/remove-iam-policy-binding and
    https://cloud.google.com/sdk/gcloud/reference/topic/escaping
    """
    delimiter = next(each for each in (",", "~", "#", "@@@") if each not in expression)
    escape = "" if delimiter == "," else f"^{delimiter}^"
    condition = f"{escape}expression={expression}{delimiter}title=TITLE"
    when = f" --condition={shlex.quote(condition)}" if expression else ""
    return f"gcloud projects remove-iam-policy-binding {project_id} --member={member} --role={role}{when}"


COMMANDS: Final[Mapping[TargetKind, str]] = MappingProxyType(
    {
        TargetKind.PROJECT: "projects {add} {project}",
        TargetKind.SECRET: "secrets {add} {name} --project={project}",
        TargetKind.REGIONAL_SECRET: "secrets {add} {name} --location={location} --project={project}",
        TargetKind.STORAGE_BUCKET: "storage buckets {add} gs://{name}",
        TargetKind.PUB_SUB_TOPIC: "pubsub topics {add} {resource}",
        TargetKind.PUB_SUB_SUBSCRIPTION: "pubsub subscriptions {add} {resource}",
        TargetKind.CLOUD_TASKS_QUEUE: "tasks queues {add} {name} --location={location} --project={project}",
        TargetKind.ARTIFACT_REGISTRY_REPOSITORY: (
            "artifacts repositories {add} {name} --location={location} --project={project}"
        ),
        TargetKind.KMS_CRYPTO_KEY: (
            "kms keys {add} {name} --keyring={parent} --location={location} --project={project}"
        ),
    }
)
"""Command and flags that name a resource, for the kinds of resources that templates of workloads name.

Source: https://cloud.google.com/sdk/gcloud/reference, `add-iam-policy-binding` of each resource.
"""
