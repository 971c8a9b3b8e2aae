"""The roles on a service account by which somebody acts as it."""

from typing import Final

USER: Final = "roles/iam.serviceAccountUser"
TOKEN_CREATOR: Final = "roles/iam.serviceAccountTokenCreator"  # noqa: S105 - a role
OPEN_ID_TOKEN_CREATOR: Final = "roles/iam.serviceAccountOpenIdTokenCreator"  # noqa: S105 - a role
WORKLOAD_IDENTITY_USER: Final = "roles/iam.workloadIdentityUser"

ACTING_ROLES: Final = (USER, TOKEN_CREATOR, OPEN_ID_TOKEN_CREATOR, WORKLOAD_IDENTITY_USER)
