"""Remedies for errors of Google Cloud. Google's message rarely contains one."""

from cloudrun_identity.gcp.errors import Fault, GoogleError

QUOTAS_PAGE = "https://console.cloud.google.com/iam-admin/quotas"


def advised(error: GoogleError) -> str:
    """Return the message of the error with its remedy: the exact command, page or field."""
    remedy = _remedy(error)
    return f"{error.message.rstrip('.')}; {remedy}" if remedy else error.message


def _remedy(error: GoogleError) -> str:
    match error.fault:
        case Fault.API_DISABLED:
            return _enable_api(error)
        case Fault.QUOTA_EXCEEDED if error.rate_limited:
            return _raise_rate(error)
        case Fault.QUOTA_EXCEEDED:
            return _make_room(error)
        case Fault.PERIMETER_VIOLATION:
            return _admit_to_perimeter(error)
        case Fault.LOCATION_NOT_FOUND:
            location = error.metadata.get("location", "this location")
            return (
                f"Cloud Run does not exist in {location}, or the project may not use it: correct the "
                "location in the spec (gcloud run regions list)"
            )
        case Fault.UNIMPLEMENTED if error.method.startswith("google.iam.v1.IAMPolicy/"):
            return (
                "the API does not serve google.iam.v1.IAMPolicy over gRPC, so target.resource cannot name "
                "its resources: delete the grant, and make it with gcloud"
            )
        case _:
            return ""


def _enable_api(error: GoogleError) -> str:
    """Return the command that enables the API, if Google's ErrorInfo names the API."""
    service, project = error.metadata.get("service"), _consumer(error)
    if not service:
        return ""
    return f"gcloud services enable {service}" + (f" --project={project}" if project else "")


def _raise_rate(error: GoogleError) -> str:
    """Return where to request a higher rate, if Google's ErrorInfo names it."""
    limit, value = error.metadata.get("quota_limit"), error.metadata.get("quota_limit_value")
    if not limit:
        return ""
    project = _consumer(error)
    named = f"{limit} is {value}" if value else limit
    return (
        f"the operator retries it; if it lasts, request a higher quota ({named}) at {_quotas_page(project)}"
    )


def _make_room(error: GoogleError) -> str:
    """Return how to get below a limit on objects: retries alone do not help."""
    project = _project_in(error.resource) or _consumer(error)
    of = f"project {project}" if project else "the project"
    match error.method.rpartition("/")[2]:
        case "CreateServiceAccount":
            what = f"{of} has the maximum number of service accounts: delete those that are not in use"
        case "CreateRole":
            # https://cloud.google.com/iam/quotas lists it as a limit, which cannot be raised.
            return (
                f"{of} has the maximum number of custom roles: delete those that are not in use; Google "
                "counts deleted roles until they are removed permanently"
            )
        case "CreateServiceAccountKey":
            return f"delete keys of {error.resource.rpartition('/')[2] or 'the account'} that are not in use"
        case _:
            what = f"{of} is at a limit: delete what is not in use"
    return f"{what}, or request a higher quota at {_quotas_page(project)}"


def _admit_to_perimeter(error: GoogleError) -> str:
    uid = error.metadata.get("uid", "")
    project = _project_in(error.resource)
    query = f'protoPayload.metadata.vpcServiceControlsUniqueId="{uid}"'
    of = f" --project={project}" if project else ""
    lookup = f"; the violated rule: gcloud logging read '{query}'{of}" if uid else ""
    return (
        "a perimeter of VPC Service Controls blocks the operator, and no role changes that: an access policy "
        f"administrator has to admit the operator's identity by an ingress rule{lookup}"
    )


def _consumer(error: GoogleError) -> str:
    """Return the project that is charged for the call, if Google's ErrorInfo names it."""
    return error.metadata.get("consumer", "").removeprefix("projects/")


def _project_in(resource: str) -> str:
    collection, _, rest = resource.partition("/")
    return rest.partition("/")[0] if collection == "projects" else ""


def _quotas_page(project: str) -> str:
    return f"{QUOTAS_PAGE}?project={project}" if project else QUOTAS_PAGE
