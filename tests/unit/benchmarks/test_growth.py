import math
from pathlib import Path

import pytest

from benchmarks.growth import data, peers, tables
from benchmarks.growth.data import Growth, Point, exponent, exponents, least_seconds, policies_of
from benchmarks.growth.measure import MORE_OBJECTS, OBJECTS


def point(objects: int) -> Point:
    policies = policies_of(objects)
    return Point(
        objects=objects,
        policies=policies,
        reads=policies,
        writes=policies,
        seconds=5 + objects / 100,
        cpu=2 + objects * 0.01,
        memory=120 + objects * 0.03,
        restart_reads=policies,
        restart_seconds=5 + objects / 1000,
        restart_cpu=2 + objects * 0.004,
    )


GROWTH = Growth("Version 1; 2 cores.", 120, 2, 0.96, tuple(map(point, (100, 1_000, 10_000))))


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0, 2.0])
def test_exponent_is_that_of_a_power_of_the_number_of_objects(power: float) -> None:
    assert exponent([(n, 3 * n**power) for n in (100, 300, 1_000, 30_000)]) == pytest.approx(power)


def test_exponent_needs_two_numbers_of_objects() -> None:
    assert math.isnan(exponent([(100, 7)]))
    assert math.isnan(exponent([(100, 7), (1_000, 0)])), "zero has no logarithm"


def test_exponents_leave_out_the_costs_of_an_operator_with_one_object() -> None:
    powers = exponents(GROWTH)
    assert powers["peak memory, beyond that with one object"] == pytest.approx(1)
    assert powers["processor time of a restart, beyond that with one object"] == pytest.approx(1)


def test_no_policy_has_more_than_a_thousand_bindings() -> None:
    assert policies_of(30_000) == 300
    for objects in (*OBJECTS, MORE_OBJECTS):
        assert objects / policies_of(objects, data.MOST_PER_POLICY) <= data.MOST_PER_POLICY


def test_least_seconds_are_the_latency_until_the_limit_on_writes_is_reached() -> None:
    assert least_seconds(1) == least_seconds(data.WRITE_RATE.burst) == pytest.approx(0.962)
    above = data.WRITE_RATE.burst + data.WRITE_RATE.per_minute
    assert least_seconds(int(above)) == pytest.approx(60.962)


def test_one_by_one_takes_the_longer_of_one_policy_and_the_limit_on_writes() -> None:
    few, _, many = GROWTH.points
    assert data.seconds_one_by_one(GROWTH, few) == pytest.approx(96)
    assert data.seconds_one_by_one(GROWTH, many) == pytest.approx((10_000 - 60) / 2, rel=0.01)


def test_stored_growth_is_loaded_as_it_was(tmp_path: Path) -> None:
    data.write(GROWTH, tmp_path / "growth.json")
    assert data.load(tmp_path / "growth.json") == GROWTH


def test_table_has_every_number_of_objects_every_exponent_and_other_tools() -> None:
    shown = "\n".join(tables.table(GROWTH))
    assert all(f"{each.objects:,}" in shown for each in GROWTH.points)
    assert all(name in shown for name in data.COSTS)
    assert all(each.tool in shown for each in peers.MEASUREMENTS)


def test_exponent_of_one_point_is_missing_in_table_and_json() -> None:
    alone = Growth("", 120, 2, 0.96, GROWTH.points[:1])
    assert "nan" not in "\n".join(tables.table(alone))
    assert tables.benchmarks(alone)[-1].figures == ()
