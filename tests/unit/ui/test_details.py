"""Details of one identity: its graph, keys and story."""

from datetime import UTC, datetime

import pytest

from cloudrun_identity.ui.details import Advice, Details, details_of
from cloudrun_identity.ui.graph import Graph, NodeKind, graph_of
from tests.unit.ui.test_page import cluster_of
from tools.sample_cluster import SampleCluster
from tools.sample_objects import TOKENS, USER, ago, attachment, drift, email, event, identity, key


def account(name: str) -> str:
    return f"serviceAccount:{email(name, 'acme')}"


async def graph(sample: SampleCluster, key: str) -> Graph:
    return graph_of(await cluster_of(sample), key)


async def details(sample: SampleCluster, key: str) -> Details:
    return details_of(await cluster_of(sample), key)


def edges(graph: Graph) -> set[tuple[str, str, str]]:
    titles = {node.id: node.title for node in graph.nodes}
    return {(titles[edge.source], titles[edge.target], edge.risk.value) for edge in graph.edges}


async def test_graph_shows_users_workloads_and_resources() -> None:
    shown = await graph(SampleCluster.acme(), "payments/checkout")
    assert edges(shown) >= {
        ("payments-oncall", "checkout", "Tokens"),
        ("payments-deployers", "checkout", "Deploy"),
        ("flow-runner", "checkout", "Tokens"),
        ("flows/prefect-worker", "flow-runner", "Tokens"),
        ("checkout", "settle-payments", "None"),
        ("checkout", "stripe-api-key", "None"),
    }
    columns = {node.title: node.column for node in shown.nodes if node.kind is not NodeKind.WORKLOAD}
    assert (columns["flow-authors"], columns["ann"], columns["orders"]) == (-2, -1, 1)


async def test_federated_principal_is_named_by_subject_and_pool() -> None:
    shown = await graph(SampleCluster.acme(), "payments/checkout")
    node = next(each for each in shown.nodes if each.type == "Federated")
    assert (node.title, node.detail) == ("repo:acme/checkout", "of pool github")


async def test_cycle_of_impersonation_ends() -> None:
    sample = SampleCluster(
        [
            identity("a", "one", "acme", users=[(TOKENS, account("two"))]),
            identity("a", "two", "acme", users=[(TOKENS, account("one"))]),
        ]
    )
    assert edges(await graph(sample, "a/one")) == {("two", "one", "Tokens"), ("one", "two", "Tokens")}


async def test_identity_that_it_may_act_as_is_a_link_to_the_right() -> None:
    shown = await graph(SampleCluster.acme(), "flows/flow-runner")
    loader = next(node for node in shown.nodes if node.title == "warehouse-loader")
    assert (loader.column, loader.identity, loader.risk) == (1, "data/warehouse-loader", "Tokens")


async def test_public_workload_is_a_public_risk() -> None:
    shown = await graph(SampleCluster.acme(), "web/storefront")
    assert next(node for node in shown.nodes if node.type == "Service").risk == "Public"


async def test_long_column_ends_in_one_node_with_the_rest() -> None:
    users = [(USER, f"user:u{number:03}@acme.example") for number in range(40)]
    users.append((TOKENS, "user:zoe@acme.example"))
    shown = await graph(SampleCluster([identity("a", "one", "acme", users=users)]), "a/one")
    left = [node for node in shown.nodes if node.column == -1]
    assert len(left) == 12
    assert left[0].title == "zoe"
    assert left[-1].title == "30 more"
    assert {edge.source for edge in shown.edges} == {node.id for node in left}


async def test_two_uses_of_one_principal_are_one_edge() -> None:
    both = [(USER, "user:ann@acme.example"), (TOKENS, "user:ann@acme.example")]
    shown = await graph(SampleCluster([identity("a", "one", "acme", users=both)]), "a/one")
    (edge,) = shown.edges
    assert edge.labels == ("attaches it to workloads", "creates tokens for it")
    assert edge.risk == "Tokens"


async def test_keys_are_in_the_graph_and_in_the_list() -> None:
    shown = await details(SampleCluster.acme(), "payments/ledger-export")
    assert [(key.state, key.where) for key in shown.keys] == [
        ("Active", "Active, in Secret ledger-export-key"),
        ("Overlap", "Overlap"),
        ("Unmanaged", "not declared by any object"),
    ]
    assert sum(node.kind is NodeKind.KEY for node in shown.graph.nodes) == 3


async def test_last_uses_that_google_reports_are_shown() -> None:
    unmanaged = [{"id": "k1", "createdTime": "2025-11-02T08:00:00Z", "lastUsed": "2026-03-01"}]
    one = identity("a", "one", "acme", lastUsed="2026-04-01", unmanagedKeys=unmanaged)
    shown = await details(SampleCluster([one]), "a/one")
    assert shown.last_used == "2026-04-01"
    (unused,) = shown.keys
    assert (unused.created, unused.last_used) == (datetime(2025, 11, 2, 8, tzinfo=UTC), "2026-03-01")
    (node,) = [node for node in shown.graph.nodes if node.kind is NodeKind.KEY]
    assert node.detail == "not declared by any object, last used 2026-03-01"


async def test_last_use_of_a_declared_key_is_shown() -> None:
    declared = key("a", "one", "acme", "one")
    declared["status"]["keys"][1]["lastUsed"] = "2026-02-01"
    keys = (await details(SampleCluster([identity("a", "one", "acme"), declared]), "a/one")).keys
    assert [each.last_used for each in keys] == ["", "2026-02-01"]


async def test_last_use_of_the_active_key_is_that_of_its_object() -> None:
    declared = key("a", "one", "acme", "one")
    declared["status"]["lastUsed"] = "2026-03-01"
    keys = (await details(SampleCluster([identity("a", "one", "acme"), declared]), "a/one")).keys
    assert [each.last_used for each in keys] == ["2026-03-01", ""]


async def test_recommendations_are_shown_with_their_source_and_roles() -> None:
    full = {
        "kind": "ExcessPermissions",
        "text": "not used",
        "source": "Recommender",
        "role": "roles/editor",
        "replaceBy": ["roles/viewer"],
        "since": "2026-03-01T08:00:00Z",
    }
    brief = {"kind": "BasicRole", "text": "too wide"}
    one = identity("a", "one", "acme", recommendations=[full, brief])
    shown = (await details(SampleCluster([one]), "a/one")).recommendations
    since = datetime(2026, 3, 1, 8, tzinfo=UTC)
    assert shown == (
        Advice("ExcessPermissions", "not used", "Recommender", "roles/editor", ("roles/viewer",), since),
        Advice("BasicRole", "too wide", "", "", (), None),
    )


async def test_story_names_who_caused_drift_in_the_order_of_the_calls() -> None:
    later = {"method": "SetIamPolicy", "time": "2026-03-01T08:00:02Z"}
    first = later | {"time": "2026-03-01T08:00:00Z", "principal": "user:dana@acme.example", "userAgent": "x"}
    drifted = drift(1, "grant removed", detected=ago(minutes=1)) | {"causes": [later, first]}
    story = (await details(SampleCluster([identity("a", "one", "acme", drift=drifted)]), "a/one")).story
    (causes,) = [each.causes for each in story if each.title == "Drift detected"]
    assert [(each.time.second, each.principal, each.user_agent) for each in causes] == [
        (0, "user:dana@acme.example", "x"),
        (2, "", ""),
    ]


async def test_story_is_newest_first_with_upcoming_entries() -> None:
    story = (await details(SampleCluster.acme(), "payments/ledger-export")).story
    assert [each.time for each in story] == sorted((each.time for each in story), reverse=True)
    upcoming = [each.title for each in story if each.upcoming]
    assert upcoming == ["Next rotation of the key", "Key 5e1180cc is deleted", "Key 5e1180cc is disabled"]


async def test_story_contains_the_objects_about_the_identity() -> None:
    titles = [each.title for each in (await details(SampleCluster.acme(), "web/storefront")).story]
    assert "Stalled is True: RevisionFailed" in titles
    assert "RevisionFailed" in titles


@pytest.mark.parametrize(("minutes", "times"), [(4, 1), (30, 2)])
async def test_event_about_the_drift_in_the_status_is_told_once(minutes: int, times: int) -> None:
    drifted = drift(1, "account changed", detected=ago(minutes=4), repaired=ago(minutes=4))
    moved = attachment("a", "web", "acme", "one", drift=drifted)
    told = event(moved, "DriftDetected", "account changed", ago(minutes=minutes), warning=True)
    sample = SampleCluster([identity("a", "one", "acme"), moved], [told])
    titles = [each.title.replace(" ", "").lower() for each in (await details(sample, "a/one")).story]
    assert titles.count("driftdetected") == times


async def test_event_about_the_state_in_the_status_is_told_once() -> None:
    moved = attachment("a", "web", "acme", "one")
    ready = moved["status"]["conditions"][0]
    again = event(moved, "Ready", ready["message"], ready["lastTransitionTime"])
    story = (await details(SampleCluster([identity("a", "one", "acme"), moved], [again]), "a/one")).story
    assert [each.title for each in story if each.subject == "IdentityAttachment web"].count("Ready") == 1


async def test_details_name_the_commands_that_show_more() -> None:
    commands = (await details(SampleCluster.acme(), "data/reports")).commands
    assert "cloudrun-identity who-can act-as data/reports --cluster" in commands


async def test_actor_that_has_no_account_yet_is_its_identity() -> None:
    shown = await graph(SampleCluster.acme(), "data/warehouse-loader")
    reports = next(node for node in shown.nodes if node.title == "reports")
    assert reports.identity == "data/reports"
