"""The page about risk and coverage says what the result files say, and these what their scores say."""

import importlib.util
import math
import re
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]
spec = importlib.util.spec_from_file_location("rc", ROOT / "scripts" / "risk_coverage.py")
script = importlib.util.module_from_spec(spec)
spec.loader.exec_module(script)
RESULTS = script.read()


def test_table_of_the_page_is_that_of_the_result_files():
    page = (ROOT / "docs" / "results" / "risk_coverage.md").read_text()
    (text,) = re.findall(r"<!-- risk_coverage -->\n((?:.+\n)+)", page)
    assert text.strip() == script.table(RESULTS)


@pytest.mark.parametrize("name", RESULTS)
def test_summary_follows_from_the_scores(name):
    content = RESULTS[name]
    wrong = torch.tensor(content["wrong"]).bool()
    assert len(wrong) == content["n"] == len(content["patient"])
    assert len(set(content["patient"])) == content["patients"]
    for score, said in content["summary"].items():
        values = [math.inf if v is None else v for v in content["scores"][score]]
        area, *risks = script.measured(wrong, torch.tensor(values, dtype=torch.float64))
        assert area == pytest.approx(said["area"][0])
        assert risks == pytest.approx([value for value, *_ in said["risk"].values()])
        assert risks[0] == pytest.approx(float(wrong.double().mean()))
        assert said["area"][1] <= area <= said["area"][2]
