"""Whom the operator acts as in a project."""

from cloudrun_identity.gcp.client_pool import OWN, Credential, NoCredential, credential_of

from .cache import Cache


def credential_in(cache: Cache, project_id: str) -> Credential:
    """What the project's ManagedProject says; ourselves where there is none.

    One that cannot be read may say to act as somebody who can do less than we can.

    Raises:
        NoCredential: the ManagedProject cannot be read, and never could since the operator started.

    """
    unread = cache.unread_project_on(project_id)
    if unread:
        raise NoCredential(
            project_id,
            f"{unread} cannot be read, so nobody can tell whom to act as in project {project_id}, and "
            "nothing is done there; correct it as its Ready condition says",
        )
    project = cache.project_on(project_id)
    return credential_of(project) if project else OWN
