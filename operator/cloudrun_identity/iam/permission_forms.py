"""Forms of permissions: a few services write theirs with a domain.

With the domain of a Google service, `iam.googleapis.com/workloadIdentityPools.get` is the permission
`iam.workloadIdentityPools.get`: roles list the one, and errors name the other
(https://github.com/hashicorp/terraform-provider-google/issues/11789). Another domain is part of the name, as
in `gcp.redisenterprise.com/databases.get`.
"""

from collections.abc import Collection

_GOOGLE_DOMAIN = ".googleapis.com/"


def plain(permission: str) -> str:
    """Return a permission without the domain of a Google service."""
    return permission.replace(_GOOGLE_DOMAIN, ".", 1)


def lacking(wanted: Collection[str], held: Collection[str]) -> frozenset[str]:
    """Return the wanted permissions that are not held, in any form."""
    forms = frozenset(map(plain, held))
    return frozenset(permission for permission in wanted if plain(permission) not in forms)
