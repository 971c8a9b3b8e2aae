"""Pictures of identities: Mermaid, Graphviz and HTML."""

import re

from cloudrun_identity.commands.identity_pictures import as_dot, as_html, as_mermaid
from cloudrun_identity.overview.identities import Actor, Node, Permit
from cloudrun_identity.overview.risk import Risk

TOKENS = "roles/iam.serviceAccountTokenCreator"


def node(name: str, *actors: Actor, permits: tuple[Permit, ...] = (), reason: str = "") -> Node:
    email = f"{name}@acme.iam.gserviceaccount.com"
    return Node("shop", name, email, "acme", reason, (f"Service europe-west1/{name}",), actors, permits)


def actor(member: str, identity: str = "", risk: Risk = Risk.TOKENS, condition: str = "") -> Actor:
    use = "creates tokens for it"
    return Actor(member, TOKENS, use, "Granted", "CloudRunIdentity shop/a", identity, condition, risk=risk)


NODES = (
    node("web", actor("user:ann@acme.example", condition='say "<now>"')),
    node(
        "api",
        actor("serviceAccount:web@acme.iam.gserviceaccount.com", "shop/web"),
        permits=(Permit("roles/owner", "Project acme", "", "Granted", "", Risk.OWNER),),
        reason="Conflict",
    ),
)


def test_mermaid_draws_each_edge_in_the_color_of_its_risk() -> None:
    lines = as_mermaid(NODES).splitlines()
    assert lines[0] == "flowchart LR"
    assert '  n0(["shop/web"])' in lines
    assert '  n0 -->|"creates tokens for it"| n1' in lines
    assert "  linkStyle 0,2 stroke:#1d62c4" in lines
    assert "  linkStyle 4 stroke:#8a33b9" in lines


def test_mermaid_escapes_names() -> None:
    assert "#34;#60;now#62;#34;" in as_mermaid(NODES)


def test_dot_escapes_names_and_quotes_labels() -> None:
    dot = as_dot(NODES)
    assert dot.startswith("digraph identities {")
    assert r"creates tokens for it if say \"<now>\"" in dot
    assert dot.endswith("}")


def test_html_has_no_script_and_no_foreign_content() -> None:
    page = as_html(NODES)
    assert "default-src 'none'" in page
    assert not re.search(r"<script|https?://|src=", page)
    assert "say &quot;&lt;now&gt;&quot;" in page
    assert '<li class="owner">roles/owner on Project acme</li>' in page


def test_no_identity_is_an_empty_picture() -> None:
    assert as_mermaid(()) == "flowchart LR"
    assert "n0" not in as_dot(())
    assert "<details>" not in as_html(())
