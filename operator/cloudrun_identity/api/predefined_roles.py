"""Google's predefined roles that the operator knows by name."""

from typing import Final

USER: Final = "roles/iam.serviceAccountUser"
TOKEN_CREATOR: Final = "roles/iam.serviceAccountTokenCreator"  # noqa: S105 - a role
OPEN_ID_TOKEN_CREATOR: Final = "roles/iam.serviceAccountOpenIdTokenCreator"  # noqa: S105 - a role
WORKLOAD_IDENTITY_USER: Final = "roles/iam.workloadIdentityUser"

ACTING_ROLES: Final = (USER, TOKEN_CREATOR, OPEN_ID_TOKEN_CREATOR, WORKLOAD_IDENTITY_USER)
"""Roles on a service account that let their holder act as the account."""

INVOKER: Final = "roles/run.invoker"
"""Role on a Cloud Run workload that lets its holder call a service or run a job."""

EVENT_RECEIVER: Final = "roles/eventarc.eventReceiver"
"""Role on a project that lets Eventarc triggers receive events as their holder."""

PUBLISHER: Final = "roles/pubsub.publisher"
SECRET_ACCESSOR: Final = "roles/secretmanager.secretAccessor"  # noqa: S105 - a role
"""Role to read the values of a secret."""

LEGACY_BASIC_ROLES: Final = ("roles/owner", "roles/editor", "roles/viewer")
"""Basic roles that accept no IAM condition."""

BASIC_ROLES: Final = frozenset((*LEGACY_BASIC_ROLES, "roles/admin", "roles/writer", "roles/reader"))
"""Roles with permissions on nearly every resource of a project.

`admin`, `writer` and `reader` are the successors of `owner`, `editor` and `viewer`. Source:
https://cloud.google.com/iam/docs/roles-overview#basic
"""
