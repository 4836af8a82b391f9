"""The page says what the result file of the strong protocol says, and that holds what was promised."""

import json
import runpy
from pathlib import Path

import pytest

pytest.importorskip("pyautoattack", reason="the benchmark compares with it")
pytest.importorskip("foolbox", reason="the benchmark's networks come from another one with peers")
pytest.importorskip("art", reason="the benchmark's networks come from another one with peers")

ROOT = Path(__file__).resolve().parents[2]
REPORT = json.loads((ROOT / "results" / "benchmarks" / "strong_peers.json").read_text())


def test_table_is_that_of_the_result_file(monkeypatch):
    folder = ROOT / "scripts" / "benchmarks"
    monkeypatch.syspath_prepend(str(folder))  # as for a script that is run
    script = runpy.run_path(str(folder / "strong_peers.py"))
    page = (ROOT / "docs" / "evaluation_speed.md").read_text()
    start = page.index("<!-- strong -->\n") + len("<!-- strong -->\n")
    table, by = script["strong_table"](REPORT["cases"]), script["evaluated"](REPORT)
    assert set(REPORT["protocols"]) == {"paper", "strong"}
    assert page[start:].startswith(f"{table}\n\n{by}\n")


def test_strong_is_no_weaker_than_the_parts_of_autoattack():
    for case in REPORT["cases"]:
        strong, peer = (case["accuracy"][name] for name in ("strong", "pyautoattack"))
        assert all(s <= p + 0.005 + 1e-9 for s, p in zip(strong, peer, strict=True)), case["model"]
