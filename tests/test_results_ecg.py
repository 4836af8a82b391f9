"""The page of the ECG results says what the result files say."""

import json
import re
import runpy
import sys
from pathlib import Path

import pytest

from monai_ima.experiments import read_results

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "results" / "ecg.md").read_text()
MARKERS = re.findall(r"<!-- (\w+) (linf|l2) (\w+) -->\n((?:.+\n)+)", PAGE)


@pytest.fixture(scope="module")
def script():
    return runpy.run_path(str(ROOT / "scripts" / "results_ecg.py"))


def test_every_table_is_that_of_the_result_files(script):
    assert len(MARKERS) > 12
    for name, norm, kind, text in MARKERS:
        tables = script["tables"](read_results(ROOT / "results" / "ecg", name, norm))
        assert text.strip() == tables[kind], (name, norm, kind)
    # no table without its name, and none of which nobody knows what it was evaluated by
    named = {(name, norm) for name, norm, kind, _ in MARKERS if kind == "evaluated"}
    assert named == {(name, norm) for name, norm, *_ in MARKERS}
    assert PAGE.count("\n| ---") == len([kind for *_, kind, _ in MARKERS if kind != "evaluated"])


def test_runs_of_two_versions_of_a_protocol_are_refused(script, tmp_path, monkeypatch, capsys):
    for method, version in (("ce", 3), ("ima", 4)):
        path = ROOT / "results" / "ecg" / f"large_linf_{method}_seed0.json"
        run = json.loads(path.read_text())
        run["attack"]["version"] = version
        (tmp_path / path.name).write_text(json.dumps(run))
    monkeypatch.setattr(sys, "argv", ["results_ecg.py", "--results", str(tmp_path)])

    with pytest.raises(SystemExit) as ended:
        script["main"]()

    assert ended.value.code == 2
    said = capsys.readouterr().err
    for method, version in (("ce", 3), ("ima", 4)):
        assert f"paper, version {version} (large_linf_{method}_seed0.json)" in said
