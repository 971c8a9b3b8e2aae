"""Errors 401 and 403. Their format differs between APIs.

Texts and details are those that users report. Cloud Run's errors have no ErrorInfo, IAM's do not name the
resource in it.
"""

from __future__ import annotations

import grpc

from cloudrun_identity_playground.emulator.apis.target_names import target_name
from cloudrun_identity_playground.emulator.calls import api_of
from cloudrun_identity_playground.emulator.errors import GoogleError, error_info

_EXPECTED = (
    "Expected OAuth 2 access token, login cookie or other valid authentication credential. "
    "See https://developers.google.com/identity/sign-in/web/devconsole-project."
)
_ROLE_VERBS = {
    "iam.roles.create": "create a role in",
    "iam.roles.delete": "delete the role at",
    "iam.roles.get": "get the role at",
    "iam.roles.list": "list roles in",
    "iam.roles.undelete": "undelete the role at",
    "iam.roles.update": "update the role at",
}


def denied(rpc: str, permission: str, resource: str) -> GoogleError:
    """Return PERMISSION_DENIED: the caller of `rpc` lacks `permission` on `resource` (a relative name)."""
    host = api_of(rpc, resource)
    named = {"permission": permission, "resource": resource}
    match host:
        case "run.googleapis.com":
            return _denied(
                f"Permission '{permission}' denied on resource '{resource}' (or resource may not exist)."
            )
        case "iam.googleapis.com" if verb := _ROLE_VERBS.get(permission):
            return _denied(f"You don't have permission to {verb} {resource}.", host, named)
        case "iam.googleapis.com" | "iamcredentials.googleapis.com":
            return _denied(
                f"Permission '{permission}' denied on resource (or it may not exist).",
                "iam.googleapis.com",
                {"permission": permission},
            )
        case "secretmanager.googleapis.com":
            return _denied(
                f"Permission '{permission}' denied for resource '{resource}' (or it may not exist).",
                "iam.googleapis.com",
                named,
            )
        case _ if target_name(resource, rpc):
            return _denied(
                f"Permission '{permission}' denied on resource '//{host}/{resource}' (or it may not exist).",
                host,
                named,
            )
        case _:
            # Errors of organization policies name the resource that the policy is set on.
            holder = resource.partition("/policies/")[0]
            return _denied(
                f"Permission '{permission}' denied on resource "
                f"'//cloudresourcemanager.googleapis.com/{holder}' (or it may not exist).",
                host,
                {"permission": permission, "resource": holder},
            )


def may_not_act_as(email: str) -> GoogleError:
    """Return Cloud Run's error for a missing account, missing actAs, or an account that is not shared."""
    return _denied(
        f"Permission 'iam.serviceaccounts.actAs' denied on service account {email} (or it may not exist)."
    )


def agent_has_no_token(agent: str, email: str) -> GoogleError:
    """Return PERMISSION_DENIED: Cloud Run's service `agent` cannot get a token of the workload's account."""
    return _denied(
        "Google Cloud Run Service Agent does not have permission to get access tokens for the service "
        f"account {email}. Please give {agent} permission iam.serviceAccounts.getAccessToken on the service "
        "account. Alternatively, if the service account is unspecified or in the same project you are "
        "deploying in, ensure that the Service Agent is assigned the Google Cloud Run Service Agent role "
        "roles/run.serviceAgent."
    )


def may_not_read_image(repository: str) -> GoogleError:
    """Return PERMISSION_DENIED: the deployer cannot read the image's `repository`."""
    return _denied(
        f"Permission 'artifactregistry.repositories.downloadArtifacts' denied on resource '{repository}' "
        "(or it may not exist)."
    )


def no_credentials(rpc: str) -> GoogleError:
    """Return UNAUTHENTICATED: a call without a token."""
    return _unauthenticated(
        rpc, "CREDENTIALS_MISSING", f"Request is missing required authentication credential. {_EXPECTED}", {}
    )


def bad_credentials(rpc: str, reason: str, email: str = "") -> GoogleError:
    """Return UNAUTHENTICATED: an invalid token, with a `reason` of google.api.ErrorReason."""
    return _unauthenticated(
        rpc,
        reason,
        f"Request had invalid authentication credentials. {_EXPECTED}",
        {"email": email} if email else {},
    )


def _denied(message: str, domain: str = "", metadata: dict[str, str] | None = None) -> GoogleError:
    details = [error_info("IAM_PERMISSION_DENIED", domain, **metadata or {})] if domain else []
    return GoogleError(grpc.StatusCode.PERMISSION_DENIED, message, *details)


def _unauthenticated(rpc: str, reason: str, message: str, metadata: dict[str, str]) -> GoogleError:
    service, _, method = rpc.partition("/")
    named = {"service": api_of(rpc), "method": f"{service}.{method}", **metadata}
    return GoogleError(
        grpc.StatusCode.UNAUTHENTICATED, message, error_info(reason, "googleapis.com", **named)
    )
