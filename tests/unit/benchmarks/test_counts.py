from collections import Counter

from benchmarks.counts import Counts

PROJECTS = "google.cloud.resourcemanager.v3.Projects"


def test_difference_of_counts() -> None:
    before = Counts(Counter(a=2), Counter({"patch x": 1}), Counter())
    after = Counts(Counter(a=5, b=1), Counter({"patch x": 1}), Counter())
    spent = after.since(before)
    assert spent.calls == Counter(a=3, b=1)
    assert spent.writes == Counter()


def test_policy_calls_include_project_policies_only() -> None:
    calls = Counter(
        {
            f"{PROJECTS}/GetIamPolicy": 3,
            f"{PROJECTS}/SetIamPolicy": 2,
            f"{PROJECTS}/GetProject": 7,
            "google.iam.admin.v1.IAM/GetIamPolicy": 11,
        }
    )
    assert Counts(calls, Counter(), Counter()).policy_calls == 5


def test_metric_is_summed_over_unnamed_labels() -> None:
    metrics = Counter(
        {
            ("objects", frozenset({("kind", "A"), ("ready", "True")})): 2,
            ("objects", frozenset({("kind", "A"), ("ready", "False")})): 3,
            ("objects", frozenset({("kind", "B"), ("ready", "True")})): 5,
            ("other", frozenset({("kind", "A")})): 7,
        }
    )
    counts = Counts(Counter(), Counter(), metrics)
    assert counts.metric("objects", kind="A") == 5
    assert counts.metric("objects", kind="A", ready="True") == 2
