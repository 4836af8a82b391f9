"""The pages whose tables are those of scripts/reproduce.py say what the result files say."""

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = {
    "fashion_mnist": ROOT / "docs" / "results" / "fashion_mnist.md",
    "moons": ROOT / "bundles" / "moons_ima" / "docs" / "README.md",
}
SAME = ("training_samples", "validation_samples", "test_samples", "max_epochs", "batch_size")


@pytest.fixture(scope="module")
def script():
    return runpy.run_path(str(ROOT / "scripts" / "reproduce.py"))


def tables(page):
    return re.findall(r"<!-- (\w+) (linf|l2) (curves|areas) -->\n((?:\|.*\n)+)", page)


@pytest.mark.parametrize(("data", "at_least"), [("fashion_mnist", 4), ("moons", 2)])
def test_every_table_is_that_of_the_result_files(script, data, at_least):
    page = PAGES[data].read_text()
    found = tables(page)
    assert len(found) >= at_least
    for name, norm, kind, table in found:
        runs = script["read"](ROOT / "results" / data, name, norm)
        made = script[{"curves": "table", "areas": "area_table"}[kind]](runs, "accuracy")
        assert table.strip() == made, (name, norm, kind)


def test_no_table_is_without_its_name():
    page = PAGES["fashion_mnist"].read_text()
    assert page.count("\n| ---") == len(tables(page)) + page.count("published -->")


@pytest.mark.parametrize(
    ("data", "name", "norm"),
    [
        ("fashion_mnist", "small", "linf"),
        ("fashion_mnist", "small", "l2"),
        ("moons", "default", "linf"),
    ],
)
def test_all_methods_had_the_same_samples_and_epochs(script, data, name, norm):
    runs = script["read"](ROOT / "results" / data, name, norm)
    assert len({run["method"] for run in runs}) > 3
    for seed in {run["seed"] for run in runs}:
        same = [run for run in runs if run["seed"] == seed]
        settings = [{name: run["settings"][name] for name in SAME} for run in same]
        assert settings == [settings[0]] * len(same)
        for what in ("labels", "training_data"):
            # older files do not name their training data
            assert len({str(run[what]) for run in same if what in run}) <= 1
    assert {run["attack"]["description"] for run in runs} == {runs[0]["attack"]["description"]}
    assert {run["attack"]["protocol"] for run in runs} == {"paper"}
