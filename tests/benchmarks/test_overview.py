"""The tables of all algorithms are those that the code counts, and that the result files give."""

from pathlib import Path

import overview
import pytest

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "performance.md").read_text()


@pytest.mark.parametrize("kind", ["passes", "times", "gpu"])
def test_tables_are_as_they_are_printed(kind):
    assert f"<!-- {kind} -->\n{getattr(overview, f'{kind}_table')()}\n" in PAGE


def test_attacks_spend_what_they_need_and_a_forward_more_at_most():
    for attack, needed, spent, _ in overview.counted():
        (f_needed, g_needed), (f_spent, g_spent) = (
            tuple(map(float, each.split(", "))) for each in (needed, spent)
        )
        assert g_spent == g_needed, attack
        assert f_needed <= f_spent <= f_needed + 1, attack


def test_pgd_is_at_its_floor_and_ahead_of_each_peer():
    report = overview._report("attack_speed")
    ours = {}
    for row in report["pgd"]:
        if row["attack"] == "monai_ima":
            ours[row["norm"], row["eps"]] = row["cpu_time_over_floor"]["median"]
    assert max(ours.values()) < 1.15
    for row in report["pgd"]:
        if row["attack"] != "monai_ima":
            assert row["cpu_time_over_floor"]["median"] > ours[row["norm"], row["eps"]]
