"""The pages whose tables are those of `monai-ima reproduce` say what the result files say."""

import re
from pathlib import Path

import pytest

from monai_ima.experiments import evaluated, read_results, tables

ROOT = Path(__file__).resolve().parents[1]
PAGES = {
    "oct": ROOT / "docs" / "results" / "oct.md",
    "fashion_mnist": ROOT / "docs" / "results" / "fashion_mnist.md",
    "moons": ROOT / "bundles" / "moons_ima" / "docs" / "README.md",
}
SAME = ("training_samples", "validation_samples", "test_samples", "max_epochs", "batch_size")


def blocks(page):
    """Name, norm, kind and text of what stands below a marker."""
    return re.findall(r"<!-- (\w+) (linf|l2) (\w+) -->\n((?:.+\n)+)", page)


@pytest.mark.parametrize(("data", "at_least"), [("oct", 4), ("fashion_mnist", 6), ("moons", 3)])
def test_every_table_is_that_of_the_result_files(data, at_least):
    found = blocks(PAGES[data].read_text())
    assert len(found) >= at_least
    for name, norm, kind, text in found:
        runs = read_results(ROOT / "results" / data, name, norm)
        if kind == "evaluated":
            assert text.strip() == evaluated(runs)
        else:
            assert text.strip() == tables(runs, "accuracy")[kind], (name, norm, kind)


@pytest.mark.parametrize("data", PAGES)
def test_every_table_says_by_which_version_of_a_protocol(data):
    found = blocks(PAGES[data].read_text())
    shown = {(name, norm) for name, norm, kind, _ in found if kind != "evaluated"}
    assert shown == {(name, norm) for name, norm, kind, _ in found if kind == "evaluated"}


def test_no_table_is_without_its_name():
    page = PAGES["fashion_mnist"].read_text()
    named = [text for *_, text in blocks(page) if text.startswith("|")]
    assert page.count("\n| ---") == len(named) + page.count("published -->")


@pytest.mark.parametrize(
    ("data", "name", "norm"),
    [
        ("fashion_mnist", "small", "linf"),
        ("fashion_mnist", "small", "l2"),
        ("moons", "default", "linf"),
    ],
)
def test_all_methods_had_the_same_samples_and_epochs(data, name, norm):
    runs = read_results(ROOT / "results" / data, name, norm)
    assert len({run["method"] for run in runs}) > 3
    for seed in {run["seed"] for run in runs}:
        same = [run for run in runs if run["seed"] == seed]
        settings = [{name: run["settings"][name] for name in SAME} for run in same]
        assert settings == [settings[0]] * len(same)
        for what in ("labels", "training_data"):
            # older files do not name their training data
            assert len({str(run[what]) for run in same if what in run}) <= 1
    assert {run["attack"]["description"] for run in runs} == {runs[0]["attack"]["description"]}
