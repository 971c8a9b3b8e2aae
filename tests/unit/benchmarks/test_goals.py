import pytest

from benchmarks.scale.goals import GOALS, Goal, Rows, Sizes, figures, label, table, verdict

MEMORY = next(goal for goal in GOALS if goal.name == "memory")


ALL = Sizes()


def rows(value: float, sizes: Sizes = ALL) -> Rows:
    measured = Rows(sizes)
    measured.add("memory", value)
    measured.add_part("memory", "resident", value - 10, "MiB")
    return measured


def line(shown: list[str], start: str) -> list[str]:
    return next(each for each in shown if each.strip().startswith(start)).split()


def test_every_goal_has_a_unit_and_a_name_of_its_own() -> None:
    assert len({goal.name for goal in GOALS}) == len(GOALS)
    assert {goal.unit for goal in GOALS} == {"ms", "s", "MiB", "reads", "writes", "calls", "lists"}


def test_goal_of_256_megabytes_is_stated_in_mebibytes() -> None:
    assert line(table({}, ALL), "peak memory after")[-4:] == ["MiB", "-", "244", "-"]


def test_row_has_unit_measured_value_goal_and_verdict() -> None:
    shown = table(rows(240).measured, ALL)
    assert line(shown, "peak memory after")[-4:] == ["MiB", "240", "244", "yes"]
    assert line(shown, "resident") == ["resident", "MiB", "230"]


@pytest.mark.parametrize(("value", "met"), [(3.9, "yes"), (4.0, "yes"), (4.004, "no"), (4.01, "no")])
def test_goal_is_met_if_the_unrounded_value_does_not_exceed_it(value: float, met: str) -> None:
    goal = Goal("cpu", "processor time", "ms", 4, 2)
    measured = Rows(ALL)
    measured.add("arrival_cpu", value)
    assert verdict(goal, measured.measured["arrival_cpu"][0], ALL) == met


def test_goals_do_not_apply_to_fewer_objects() -> None:
    few = Sizes(300)
    assert line(table(rows(100, few).measured, few), "peak memory after")[-1] == "-"
    assert all(figure.baseline is None for figure in figures(rows(100, few).measured, few))


def test_json_has_the_goal_as_baseline_of_the_figure_only() -> None:
    figure, part = figures(rows(240).measured, ALL)
    assert (figure.name, figure.baseline) == ("memory", MEMORY.at_most)
    assert (part.name, part.baseline) == ("memory resident", None)


def test_labels_name_the_sizes() -> None:
    assert "1,000 on 10 policies" in label(MEMORY, Sizes(1_000))


def test_fewer_objects_arrive_at_the_same_rate() -> None:
    assert ALL.arrival_seconds == 120
    assert Sizes(1_000).arrival_seconds == 12


@pytest.mark.parametrize(("name", "shown"), [("idle_lists", "0.25"), ("idle_calls", "0.25")])
def test_figures_per_interval_have_two_decimals(name: str, shown: str) -> None:
    measured = Rows(ALL)
    measured.add(name, 0.25)
    (goal,) = [goal for goal in GOALS if goal.name == name]
    assert shown in line(table(measured.measured, ALL), label(goal, ALL)[:20])
