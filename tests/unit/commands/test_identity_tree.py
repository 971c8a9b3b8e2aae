"""The tree of identities: from object status to text and JSON."""

from typing import Any

from cloudrun_identity.api import CloudRunIdentity, CustomRole, IAMBinding
from cloudrun_identity.commands.identity_tree import as_json, as_text
from cloudrun_identity.overview.identities import nodes_of

READY = [
    {
        "type": "Ready",
        "status": "True",
        "reason": "UpToDate",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
]
USER, TOKENS = "roles/iam.serviceAccountUser", "roles/iam.serviceAccountTokenCreator"


def email(name: str) -> str:
    return f"{name}@acme.iam.gserviceaccount.com"


def grant(role: str, member: str, target: str = "", **more: Any) -> dict[str, Any]:
    return {
        "role": role,
        "member": member if ":" in member else f"serviceAccount:{email(member)}",
        "target": target if " " in target else f"ServiceAccount {email(target)}",
        "state": "Granted",
        **more,
    }


def identity(name: str, *grants: dict[str, Any], namespace: str = "shop", **status: Any) -> CloudRunIdentity:
    return CloudRunIdentity.model_validate(
        {
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"projectRef": {"name": "acme"}},
            "status": {
                "email": email(name),
                "member": f"serviceAccount:{email(name)}",
                "projectID": "acme",
                "conditions": READY,
                "grants": grants,
                **status,
            },
        }
    )


def test_chain_of_impersonation_is_followed_until_it_cycles() -> None:
    nodes = nodes_of(
        [
            identity("front-end", grant(TOKENS, "middle", "front-end")),
            identity("middle", grant(TOKENS, "back-end", "middle"), grant(TOKENS, "front-end", "middle")),
            identity("back-end"),
        ],
        [],
    )
    assert as_text(
        [node for node in nodes if node.name == "front-end"]
        + [node for node in nodes if node.name == "middle"]
    ).splitlines()[:6] == [
        "shop",
        f"├── front-end  {email('front-end')}",
        "│   ├── used by",
        "│   │   └── shop/middle  creates tokens for it",
        "│   │       ├── shop/back-end  creates tokens for it",
        "│   │       └── shop/front-end  creates tokens for it  (cycle)",
    ]


def test_workloads_and_grants_show_pending_state() -> None:
    attached = [
        {"projectID": "acme", "kind": "Service", "location": "europe-west1", "name": "web"},
        {"projectID": "other", "kind": "Job", "location": "us-east1", "name": "nightly"},
    ]
    until = grant(
        "roles/run.invoker",
        "checkout",
        "Service europe-west1/pricing",
        condition="by day",
        state="Pending",
        reason="WorkloadNotFound",
    )
    (node,) = nodes_of([identity("checkout", until, attachedTo=attached)], [])
    assert (
        as_text([node])
        == f"""\
shop
└── checkout  {email("checkout")}
    ├── runs
    │   ├── Service europe-west1/web
    │   └── Job us-east1/nightly in other
    └── grants
        └── roles/run.invoker on Service europe-west1/pricing if by day  (Pending WorkloadNotFound)"""
    )


def test_bindings_of_other_namespaces_are_included() -> None:
    binding = IAMBinding.model_validate(
        {
            "metadata": {"name": "deployers", "namespace": "platform"},
            "spec": {
                "projectRef": {"name": "acme"},
                "target": {"kind": "Project"},
                "role": USER,
                "members": [{"principal": "user:ann@example.com"}],
            },
            "status": {"grants": [grant(USER, "user:ann@example.com", "checkout")]},
        }
    )
    told = as_json(nodes_of([identity("checkout")], [binding]))
    assert told == {
        "identities": [
            {
                "namespace": "shop",
                "name": "checkout",
                "email": email("checkout"),
                "projectID": "acme",
                "ready": True,
                "reason": "",
                "runs": [],
                "actedAsBy": [
                    {
                        "member": "user:ann@example.com",
                        "role": USER,
                        "how": "attaches it to workloads",
                        "state": "Granted",
                        "declaredBy": "IAMBinding platform/deployers",
                    }
                ],
                "may": [],
            }
        ],
        "includesUnmanagedGrants": False,
    }


def test_namespaces_are_separate_and_reasons_are_shown() -> None:
    unmade = CloudRunIdentity.model_validate(
        {"metadata": {"name": "unmade", "namespace": "web"}, "spec": {"projectRef": {"name": "acme"}}}
    )
    assert (
        as_text(nodes_of([unmade, identity("checkout")], []))
        == f"""\
shop
└── checkout  {email("checkout")}

web
└── unmade  no account yet  (Unknown)"""
    )


def test_role_on_the_project_is_shown_under_each_of_its_accounts() -> None:
    runner = identity(
        "runner", grant(USER, "runner", "Project acme"), grant("roles/run.admin", "runner", "Project acme")
    )
    elsewhere = identity("other", projectID="elsewhere", email=email("other"))
    nodes = nodes_of([identity("flows"), runner, elsewhere], [])
    whole = f"attaches it to workloads  ({USER} on Project acme)"
    assert (
        as_text(nodes)
        == f"""\
shop
├── flows  {email("flows")}
│   └── used by
│       └── shop/runner  {whole}
├── other  {email("other")}
└── runner  {email("runner")}
    ├── used by
    │   └── shop/runner  {whole}  (itself)
    └── grants
        ├── {USER} on Project acme
        └── roles/run.admin on Project acme"""
    )
    (actor,) = as_json(nodes)["identities"][0]["actedAsBy"]
    assert actor["target"] == "Project acme"


def test_permissions_decide_whether_a_role_on_the_project_is_shown() -> None:
    custom = "projects/acme/roles/impersonator"
    role = CustomRole.model_validate(
        {
            "metadata": {"name": "impersonator", "namespace": "platform"},
            "spec": {
                "projectRef": {"name": "acme"},
                "roleID": "impersonator",
                "permissions": ["iam.serviceAccounts.getAccessToken", "run.jobs.run"],
            },
            "status": {"name": custom},
        }
    )
    grants = (
        grant(custom, "user:ann@example.com", "Project acme", condition="by day"),
        grant("roles/editor", "user:bob@example.com", "Project acme"),
        grant("roles/viewer", "user:eve@example.com", "Project acme"),
        grant(custom, "user:tom@example.com", "Project other"),
    )
    binding = IAMBinding.model_validate(
        {
            "metadata": {"name": "people", "namespace": "platform"},
            "spec": {
                "projectRef": {"name": "acme"},
                "target": {"kind": "Project"},
                "role": custom,
                "members": [{"principal": "user:ann@example.com"}],
            },
            "status": {"grants": grants},
        }
    )
    (node,) = nodes_of([identity("checkout")], [binding], [role])
    ann, bob = (line.split("── ", 1)[1] for line in as_text([node]).splitlines()[3:])
    assert ann == f"user:ann@example.com  creates access tokens for it if by day  ({custom} on Project acme)"
    uses = "attaches it to workloads, creates keys for it"
    assert bob == f"user:bob@example.com  {uses}  (roles/editor on Project acme)"


def test_roles_on_a_project_are_shown_once_per_chain() -> None:
    """Ten identities that can all act as each other would have millions of chains."""
    names = [f"admin-{number}" for number in range(10)]
    nodes = nodes_of([identity(name, grant(USER, name, "Project acme")) for name in names], [])
    lines = as_text(nodes).splitlines()
    assert len(lines) == 1 + 10 * (1 + 1 + 10 + 2)
