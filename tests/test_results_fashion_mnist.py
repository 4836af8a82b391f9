"""The page of the Fashion-MNIST results says what the result files say."""

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "results" / "fashion_mnist"
PAGE = (ROOT / "docs" / "results" / "fashion_mnist.md").read_text()
TABLES = re.findall(r"<!-- (\w+) (linf|l2) (curves|areas) -->\n((?:\|.*\n)+)", PAGE)


@pytest.fixture(scope="module")
def script():
    return runpy.run_path(str(ROOT / "scripts" / "reproduce.py"))


def test_every_table_is_that_of_the_result_files(script):
    assert len(TABLES) >= 4
    for name, norm, kind, table in TABLES:
        runs = script["read"](RESULTS, name, norm)
        made = script[{"curves": "table", "areas": "area_table"}[kind]](runs, "accuracy")
        assert table.strip() == made, (name, norm, kind)
    assert PAGE.count("\n| ---") == len(TABLES) + PAGE.count("published -->")


def test_all_methods_had_the_same_samples_and_epochs(script):
    for norm in ("linf", "l2"):
        runs = script["read"](RESULTS, "small", norm)
        same = {
            "training_samples",
            "validation_samples",
            "test_samples",
            "max_epochs",
            "batch_size",
        }
        settings = [{name: run["settings"][name] for name in same} for run in runs]
        assert len(runs) > 3
        assert settings == [settings[0]] * len(runs)
        assert [run["labels"] for run in runs] == [runs[0]["labels"]] * len(runs)
        assert {run["attack"]["protocol"] for run in runs} == {"paper"}
