"""What grows with the samples: the small form of the benchmark, and what its result file says."""

import json
import sys
from itertools import pairwise
from pathlib import Path

import growth
import measuring
import pytest

ROOT = Path(__file__).resolve().parents[2]
REPORT = json.loads((ROOT / "results" / "benchmarks" / "growth.json").read_text())
PAGE = (ROOT / "docs" / "performance.md").read_text()
# Bytes of further samples are not more than in the beginning, but for text that has more digits.
WRITTEN = {"checkpoint.pt", "model.pt", "progress.records", "run.json", "samples.csv"}


def sizes_of(name):
    found = {}
    for row in REPORT["rows"]:
        if name in row["files"]:
            found[row["samples"]] = row["files"][name]
    return [found[samples] for samples in sorted(found)]


def test_every_part_is_measured_drawn_and_kept(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(measuring, "RESULTS", tmp_path)
    for name, value in {"SIZES": (80, 160), "BATCH": 16, "LINKS": 30, "CHECKED": 0}.items():
        monkeypatch.setattr(growth, name, value)
    largest = dict.fromkeys(growth.PARTS, 160) | {"reduce": 80}
    small = {part: (work, what, largest[part]) for part, (work, what, _) in growth.PARTS.items()}
    monkeypatch.setattr(growth, "PARTS", small)
    alone = growth.in_own_process

    def here(part, count):  # but for the one that forks
        return (alone if part == "reduce" else growth.measured)(part, count)

    monkeypatch.setattr(growth, "in_own_process", here)
    monkeypatch.setattr(sys, "argv", ["growth.py"])

    growth.main()

    report = json.loads((tmp_path / "growth.json").read_text())
    rows = report["rows"]
    assert [(row["part"], row["samples"]) for row in rows] == [
        (part, count) for part in growth.PARTS for count in (80, 160) if count <= largest[part]
    ]
    assert all(row["seconds"] > 0 for row in rows)
    written = {row["part"]: set(row["files"]) for row in rows}
    assert written["record"] == {"run.json"}
    assert written["checkpoint"] == {"checkpoint.pt", "model.pt"}
    assert written["evaluation"] >= {"progress.records", "samples.csv", "robustness.json"}
    assert (tmp_path / "growth.png").stat().st_size > 10_000
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line) for line in lines[: len(rows)]] == rows
    assert growth.cost_table(rows).splitlines()[-1] in lines


def test_tables_are_those_of_the_result_file():
    rows = REPORT["rows"]
    assert f"<!-- growth -->\n{growth.cost_table(rows)}\n" in PAGE
    assert f"<!-- files -->\n{growth.file_table(rows)}\n" in PAGE


def test_the_largest_size_is_measured_of_all_but_the_files_of_a_datalist():
    counts = {part: set() for part in growth.PARTS}
    for row in REPORT["rows"]:
        counts[row["part"]].add(row["samples"])
    whole = set(growth.SIZES)
    assert counts.pop("datalist") == {10**5, 10**6}
    assert all(found == whole for found in counts.values())


@pytest.mark.parametrize("part", growth.PARTS)
def test_ten_times_the_samples_take_ten_times_the_time_and_memory_at_most(part):
    """But for caches of the processor, which ten million numbers leave."""
    rows = [row for row in REPORT["rows"] if row["part"] == part]
    for less, more in pairwise(rows):
        assert more["memory"] < 11 * less["memory"]
        if less["seconds"] > 0.1:
            assert more["seconds"] < 16 * less["seconds"]
    assert max(row["memory"] for row in rows) < 8 * 2**30


@pytest.mark.parametrize("name", sorted({n for row in REPORT["rows"] for n in row["files"]}))
def test_files_grow_linearly_or_not_at_all(name):
    first, second, third = sizes_of(name)
    if name in WRITTEN - {"model.pt"}:
        assert third - second == pytest.approx(10 * (second - first), rel=0.02)
    else:
        assert third < 1.1 * first
