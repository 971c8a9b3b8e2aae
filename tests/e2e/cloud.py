"""Client of the emulator (`Cloud`): reads and changes Google Cloud as another user would.

It uses the REST port and the control API."""

import json
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Self

from tests.time_budget import HUNG_AFTER

HOSTS = {
    "organizations": "cloudresourcemanager.googleapis.com",
    "projects": "cloudresourcemanager.googleapis.com",
    "serviceAccounts": "iam.googleapis.com",
    "services": "run.googleapis.com",
    "jobs": "run.googleapis.com",
    "workerPools": "run.googleapis.com",
    "secrets": "secretmanager.googleapis.com",
}
LOCATION = "europe-west1"
IMAGE = "europe-docker.pkg.dev/{project}/images/app:1"

Policy = dict[str, list[str]]
"""Members of each role, in order; a role with a condition is named `ROLE if TITLE`."""


class Cloud:
    """One emulated Google Cloud. Resources have relative names, such as `projects/P/serviceAccounts/E`."""

    def __init__(self, url: str, author: str = "", user_agent: str = "") -> None:
        self._url = url
        self._author = author
        self._user_agent = user_agent

    def acting_as(self, author: str, user_agent: str = "") -> Self:
        """Return the same cloud for changes by another principal, such as `user:dana@example.com`.

        The principal may do everything. The audit log shows it and the user agent.
        """
        return type(self)(self._url, author, user_agent)

    def add_change_feed(
        self, project: str, home: str, *, filter_: str = "", subscriber: str = "", name: str = "changes"
    ) -> str:
        """Route the audit log of a project to a topic in the project `home`; return its subscription.

        `subscriber` is granted `roles/pubsub.subscriber` on the subscription.
        """
        topic, subscription = f"projects/{home}/topics/{name}", f"projects/{home}/subscriptions/{name}"
        self._request("PUT", f"/v1/{topic}", {})
        self._request("PUT", f"/v1/{subscription}", {"topic": topic})
        sink = self._request(
            "POST",
            f"/v2/projects/{project}/sinks?uniqueWriterIdentity=true",
            {
                "name": name,
                "destination": f"pubsub.googleapis.com/{topic}",
                "filter": filter_ or 'log_id("cloudaudit.googleapis.com/activity")',
            },
        )
        self.add(f"//pubsub.googleapis.com/{topic}", "roles/pubsub.publisher", sink["writerIdentity"])
        if subscriber:
            self.add(f"//pubsub.googleapis.com/{subscription}", "roles/pubsub.subscriber", subscriber)
        return subscription

    def inject(self, **messages: Any) -> None:
        """Publish messages that no call caused: `malformed=N`, `backlog=N`, or `entry={…}, times=N`."""
        self._control("POST", "feed", messages)

    def feed(self) -> dict[str, Any]:
        """Return the counts of exported, lost, refused and held messages, and the backlog by subscription."""
        found: dict[str, Any] = self._control("GET", "feed")
        return found

    def audit_log(self) -> list[dict[str, Any]]:
        """Return the entries of the audit log, oldest first."""
        found: list[dict[str, Any]] = self._control("GET", "entries")
        return found

    def policy(self, resource: str) -> Policy:
        """Return the members of each role on the resource; empty if it has no policy."""
        bindings = self.raw_policy(resource).get("bindings", ())
        return {_role(binding): binding["members"] for binding in bindings}

    def raw_policy(self, resource: str) -> dict[str, Any]:
        """Return the policy as JSON; empty if there is none."""
        found: dict[str, Any] = self._state(resource)["policies"].get(resource, {})
        return found

    def policies(self) -> dict[str, Any]:
        """Return every policy as JSON, by resource."""
        found: dict[str, Any] = self._state()["policies"]
        return found

    def project_number(self, project: str) -> str:
        """Return the number of a project."""
        number: str = self._request("GET", f"/v1/projects/{project}")["projectNumber"]
        return number

    def accounts(self, project: str) -> dict[str, dict[str, Any]]:
        """Return the live accounts of a project by ID."""
        return {
            account["email"].partition("@")[0]: account
            for account in self._state(f"projects/{project}")["serviceAccounts"]
            if not account["deleted"]
        }

    def deleted_accounts(self, project: str) -> list[str]:
        """Return the IDs of a project's deleted accounts."""
        return [
            account["email"].partition("@")[0]
            for account in self._state(f"projects/{project}")["serviceAccounts"]
            if account["deleted"]
        ]

    def runs_as(self, workload: str) -> str:
        """Return the account in a workload's template; empty for the default account."""
        template = self._state(workload)[workload.split("/")[-2]][workload]["template"]
        email: str = template.get("template", template).get("serviceAccount", "")
        return email

    def add(self, resource: str, role: str, member: str, condition: dict[str, str] | None = None) -> None:
        """Grant a role as another user."""
        self._edit_policy(resource, "add", role, member, condition)

    def remove(self, resource: str, role: str, member: str) -> None:
        """Remove a grant as another user."""
        self._edit_policy(resource, "remove", role, member, None)

    def edit_account(self, email: str, verb: str) -> None:
        """Call `disable`, `enable`, `delete` or `undelete` on an account as another user."""
        project = email.partition("@")[2].partition(".")[0]
        self._edit({"serviceAccount": full_name(f"projects/{project}/serviceAccounts/{email}"), verb: True})

    def edit_principal(self, principal: str, **change: Any) -> None:
        """Change a user or group: `aliases=[…]`, `rename=…`, `delete=True` or `undelete=True`."""
        self._edit({"principal": principal, **change})

    def edit_service_agent(self, email: str, *, missing: bool) -> None:
        """Make a service agent one that Google has not created yet, or let Google create it."""
        self._edit({"serviceAgent": email, "missing": missing})

    def deploy_as(self, workload: str, email: str) -> None:
        """Deploy a workload to run as `email`; empty for the default account."""
        self._edit({"workload": full_name(workload), "serviceAccount": email})

    def create_account(self, project: str, account_id: str, display_name: str = "") -> str:
        """Create an account as another user; return its e-mail."""
        body = {"accountId": account_id, "serviceAccount": {"displayName": display_name}}
        email: str = self._request("POST", f"/v1/projects/{project}/serviceAccounts", body)["email"]
        return email

    def keys(self, account: str) -> dict[str, dict[str, Any]]:
        """Return the user-managed keys of an account, by ID."""
        listed = self._request("GET", f"/v1/{account}/keys?keyTypes=USER_MANAGED").get("keys", ())
        return {key["name"].rpartition("/")[2]: key for key in listed}

    def create_key(self, account: str) -> str:
        """Create a key as another user; return its ID."""
        name: str = self._request("POST", f"/v1/{account}/keys", {})["name"]
        return name.rpartition("/")[2]

    def disable_key(self, account: str, key_id: str) -> None:
        """Disable a key as another user."""
        self._request("POST", f"/v1/{account}/keys/{key_id}:disable", {})

    def use(self, name: str, at: datetime) -> None:
        """Use an account or a key (its resource name) at this time."""
        self._edit({"used": f"//iam.googleapis.com/{name}", "at": at.isoformat()})

    def set_org_policy(self, project: str, constraint: str, **rule: Any) -> None:
        """Set a constraint of the organization on a project: `enforce=True`, or `values={…}`."""
        policy = {"name": f"{project}/policies/{constraint}", "spec": {"rules": [rule]}}
        self._request("POST", f"/v2/{project}/policies", policy)

    def drop_org_policy(self, project: str, constraint: str) -> None:
        """Delete a constraint of a project, so that the inherited one applies."""
        self._request("DELETE", f"/v2/{project}/policies/{constraint}")

    def roles(self, project: str) -> list[dict[str, Any]]:
        """Return the custom roles of a project, deleted or not."""
        found: list[dict[str, Any]] = self._state(f"projects/{project}")["roles"]
        return found

    def role(self, name: str) -> dict[str, Any] | None:
        """Return a custom role by its full name, deleted or not."""
        project = name.partition("/roles/")[0]
        listed = self._request("GET", f"/v1/{project}/roles?showDeleted=true&view=FULL").get("roles", ())
        return next((role for role in listed if role["name"] == name), None)

    def create_role(self, project: str, role_id: str, permissions: list[str]) -> None:
        """Create a custom role as another user."""
        body = {"roleId": role_id, "role": {"title": role_id, "includedPermissions": permissions}}
        self._request("POST", f"/v1/projects/{project}/roles", body)

    def change_role(self, name: str, **fields: Any) -> None:
        """Change a custom role as another user."""
        self._request("PATCH", f"/v1/{name}?updateMask={','.join(fields)}", fields)

    def delete_role(self, name: str) -> None:
        """Delete a custom role as another user."""
        self._request("DELETE", f"/v1/{name}")

    def deploy(
        self, kind: str, project: str, name: str, service_account: str = "", *, regions: Sequence[str] = ()
    ) -> str:
        """Create a resource of type `services`, `jobs` or `workerPools`; return its relative name.

        With `regions`, create a multi-region service.
        """
        template: dict[str, Any] = {"containers": [{"image": IMAGE.format(project=project)}]}
        if service_account:
            template["serviceAccount"] = service_account
        if kind == "jobs":
            template = {"template": template}
        identifier = {"services": "serviceId", "jobs": "jobId", "workerPools": "workerPoolId"}[kind]
        parent = f"projects/{project}/locations/{'global' if regions else LOCATION}"
        body = {"template": template} | (
            {"multiRegionSettings": {"regions": list(regions)}} if regions else {}
        )
        self._request("POST", f"/v2/{parent}/{kind}?{identifier}={name}", body)
        return f"{parent}/{kind}/{name}"

    def workload(self, workload: str) -> dict[str, Any]:
        """Return a service, job or worker pool as Google shows it."""
        found: dict[str, Any] = self._request("GET", f"/v2/{workload}")
        return found

    def update(self, workload: str, **fields: Any) -> None:
        """Deploy a workload with these fields replaced, as another user."""
        whole = self.workload(workload) | fields
        self._request("PATCH", f"/v2/{workload}", {**whole, "etag": ""})

    def delete_workload(self, workload: str) -> None:
        """Delete a workload as another user."""
        self._request("DELETE", f"/v2/{workload}")

    def fails_to_start(self, workload: str, message: str) -> None:
        """Make new revisions of a workload fail with this message; empty to end that."""
        self._edit({"workload": full_name(workload), "failsToStart": message})

    def use_permissions(self, project: str, used: dict[str, list[str]]) -> None:
        """State which permissions members used in the last 90 days, for Recommender."""
        self._edit({"usage": f"projects/{project}", "used": used})

    def create_resource(self, full_name: str, project: str) -> None:
        """Create a secret, bucket, topic or the like in a project."""
        self._edit({"resource": full_name, "create": project})

    def create_subscription(self, project: str, name: str) -> str:
        """Create a topic and a subscription of one name; return the name of the subscription."""
        self._request("PUT", f"/v1/projects/{project}/topics/{name}", {})
        subscription = f"projects/{project}/subscriptions/{name}"
        self._request("PUT", f"/v1/{subscription}", {"topic": f"projects/{project}/topics/{name}"})
        return subscription

    def delete_subscription(self, name: str) -> None:
        """Delete a subscription and its topic."""
        self._request("DELETE", f"/v1/{name}")
        self._request("DELETE", f"/v1/{name.replace('/subscriptions/', '/topics/')}")

    def create_sink(self, project: str, subscription: str, log_filter: str) -> None:
        """Route the audit log of a project to the topic of a subscription."""
        topic = subscription.replace("/subscriptions/", "/topics/")
        sink = {"name": "feed", "destination": f"pubsub.googleapis.com/{topic}", "filter": log_filter}
        writer = self._request("POST", f"/v2/projects/{project}/sinks?uniqueWriterIdentity=true", sink)
        grant = {"role": "roles/pubsub.publisher", "member": writer["writerIdentity"]}
        self._edit({"policy": f"//pubsub.googleapis.com/{topic}", "add": [grant]})

    def set_switches(self, **switches: Any) -> None:
        """Set switches, such as `operationTime="3s"`."""
        self._control("PATCH", "switches", switches)

    def write_policy(self, resource: str, policy: dict[str, Any], update_mask: str = "") -> None:
        """Write a project's policy over the REST API as another client would."""
        body = {"policy": policy} | ({"updateMask": update_mask} if update_mask else {})
        self._request("POST", f"/v3/{resource}:setIamPolicy", body)

    def fail(self, method: str, code: str, times: int = 1, **more: Any) -> None:
        """Make the next calls of `method` (a glob) fail with `code`."""
        self._control("POST", "faults", {"method": method, "code": code, "times": times, **more})

    def revision(self, service: str) -> str:
        """Return the short name of a service's latest ready revision; empty while there is none."""
        name: str = self._request("GET", f"/v2/{service}").get("latestReadyRevision", "")
        return name.rpartition("/")[2]

    def pin(self, service: str, revision: str) -> None:
        """Send all traffic of a service to one revision; empty for the latest."""
        kind = "TRAFFIC_TARGET_ALLOCATION_TYPE_"
        target = {"type": f"{kind}REVISION", "revision": revision} if revision else {"type": f"{kind}LATEST"}
        body = {"traffic": [{**target, "percent": 100}]}
        self._request("PATCH", f"/v2/{service}?updateMask=traffic", body)

    def run(self, job: str) -> str:
        """Run a job; return the name of its execution."""
        execution: str = self._request("POST", f"/v2/{job}:run", {})["metadata"]["name"]
        return execution

    def cancel(self, execution: str) -> None:
        """Cancel a running execution."""
        self._request("POST", f"/v2/{execution}:cancel", {})

    def recover(self) -> None:
        """Clear all pending faults."""
        self._control("DELETE", "faults")

    @contextmanager
    def switched(self, **switches: Any) -> Iterator[None]:
        """Set switches of the emulator during the block."""
        before = self._control("GET", "switches")
        self._control("PATCH", "switches", switches)
        try:
            yield
        finally:
            self._control("PATCH", "switches", {name: before[name] for name in switches})

    def calls(self) -> Counter[str]:
        """Return the number of calls of each RPC, by service and name (`Projects/SetIamPolicy`)."""
        counted: Counter[str] = Counter()
        for rpc, count in self._control("GET", "calls").items():
            counted[rpc.removeprefix(rpc.rpartition("/")[0].rpartition(".")[0] + ".")] += count
        return counted

    def log(self, about: str = "") -> list[dict[str, Any]]:
        """Return every call about an object: `rpc`, `code` and `reason`.

        `about` is the beginning of its namespace, name and generation, such as `shop/checkout@3`.
        """
        calls: list[dict[str, Any]] = self._control("GET", "log")
        return [call for call in calls if not about or f"/{about}" in call["reason"]]

    def _state(self, under: str = "") -> Any:
        """Return the state of a resource and everything below it; empty for everything."""
        return self._control("GET", f"state?{urllib.parse.urlencode({'under': under})}")

    def _edit_policy(
        self, resource: str, verb: str, role: str, member: str, condition: dict[str, str] | None
    ) -> None:
        grant = {"role": role, "member": member} | ({"condition": condition} if condition else {})
        self._edit({"policy": full_name(resource), verb: [grant]})

    def _edit(self, change: dict[str, Any]) -> None:
        author = {"caller": self._author, "userAgent": self._user_agent}
        self._control("POST", "edit", {**change, **{name: text for name, text in author.items() if text}})

    def _control(self, verb: str, what: str, body: Any = None) -> Any:
        return self._request(verb, f"/control/{what}", body)

    def _request(self, verb: str, path: str, body: Any = None) -> Any:
        headers = {"Content-Type": "application/json"}
        if self._author:
            headers["Authorization"] = f"Bearer admin:{self._author}"
        if self._user_agent:
            headers["User-Agent"] = self._user_agent
        request = urllib.request.Request(
            self._url + path,
            method=verb,
            data=None if body is None else json.dumps(body).encode(),
            headers=headers,
        )
        try:
            with urllib.request.urlopen(request, timeout=HUNG_AFTER) as reply:
                return json.loads(reply.read() or b"null")
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{verb} {path}: {error.code} {error.read().decode()}") from None


def full_name(resource: str) -> str:
    """Return the full name of a resource, such as `//cloudresourcemanager.googleapis.com/projects/P`.

    A full name is returned as it is.
    """
    if resource.startswith("//"):
        return resource
    return f"//{HOSTS[resource.split('/')[-2]]}/{resource}"


def _role(binding: dict[str, Any]) -> str:
    condition = binding.get("condition", {}).get("title")
    return f"{binding['role']} if {condition}" if condition else str(binding["role"])
