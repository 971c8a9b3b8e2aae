"""Requirements of a workload that are not grants to its identity: networks, file shares and tasks."""

import re
from collections.abc import Iterator
from typing import Any

from cloudrun_identity.iam.workload_needs import Note

_PROJECT = r"(?P<project>[a-z0-9][a-z0-9.:-]*)"
_URL = r"(?:https://www\.googleapis\.com/compute/v1/)?"
_CONNECTOR = re.compile(rf"projects/{_PROJECT}/locations/[a-z0-9-]+/connectors/[a-z0-9-]+")
_NETWORK = re.compile(rf"{_URL}projects/{_PROJECT}/global/networks/(?P<name>[a-z0-9-]+)")
_SUBNETWORK = re.compile(
    rf"{_URL}projects/{_PROJECT}/regions/(?P<region>[a-z0-9-]+)/subnetworks/(?P<name>[a-z0-9-]+)"
)
_QUEUE = re.compile(r"projects/[a-z0-9.:-]+/locations/[a-z0-9-]+/queues/(?P<name>[A-Za-z0-9-]+)")


def network_notes(template: Any, home: str, project_number: str, location: str) -> Iterator[Note]:
    """Yield the requirements, for a workload in the project `home`, by ID, in a location."""
    own = {home, project_number}
    yield from _connector(template.vpc_access.connector, own)
    for interface in template.vpc_access.network_interfaces:
        yield from _interface(interface, own, location)
    if any(volume.HasField("nfs") for volume in template.volumes):
        yield Note(
            "the mounted NFS share needs no IAM role: the workload reaches its server through the VPC "
            "network, and the server decides about access"
        )
    for container in template.containers:
        for variable in container.env:
            if found := _QUEUE.fullmatch(variable.value):
                yield _tasks_with_tokens(found["name"])


def _connector(name: str, own: set[str]) -> Iterator[Note]:
    """Yield what the service agent needs for a connector of another project.

    Source: https://cloud.google.com/run/docs/configuring/shared-vpc-host-project
    """
    found = _CONNECTOR.fullmatch(name)
    if found and found["project"] not in own:
        host = found["project"]
        yield Note(
            f"the Cloud Run service agent uses the VPC connector of the shared VPC host project {host}",
            f"gcloud projects add-iam-policy-binding {host} --member=serviceAccount:{{agent}} "
            "--role=roles/vpcaccess.user",
        )


def _interface(interface: Any, own: set[str], location: str) -> Iterator[Note]:
    """Yield what the service agent needs for Direct VPC egress through a shared VPC network.

    Source: https://cloud.google.com/run/docs/configuring/shared-vpc-direct-vpc
    """
    found = _SUBNETWORK.fullmatch(interface.subnetwork) or _NETWORK.fullmatch(interface.network)
    if not found or found["project"] in own:
        return
    host, region = found["project"], found.groupdict().get("region") or location
    # Without a subnetwork, it is the one with the name of the network.
    yield Note(
        f"the Cloud Run service agent uses the subnetwork {found['name']} of the shared VPC host project "
        f"{host}",
        f"gcloud compute networks subnets add-iam-policy-binding {found['name']} --region={region} "
        f"--project={host} --member=serviceAccount:{{agent}} --role=roles/compute.networkUser",
    )


def _tasks_with_tokens(queue: str) -> Note:
    """Return what the identity needs to add tasks with a token.

    Source: https://cloud.google.com/tasks/docs/creating-http-target-tasks#sa
    """
    return Note(
        f"tasks in queue {queue} that carry an OIDC or OAuth token also need roles/iam.serviceAccountUser "
        "for the identity on the account of the token: add it to spec.users of the CloudRunIdentity of "
        "that account"
    )
