"""The tree of identities: from object status to text and JSON."""

from typing import Any

from cloudrun_identity.api import CloudRunIdentity, IAMBinding
from cloudrun_identity.commands.identity_tree import as_json, as_text, nodes_of

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
        ]
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
