"""The pages whose tables are those of `monai-ima reproduce` say what the result files say."""

import json
import re
import shutil
from pathlib import Path

import pytest

from monai_ima.cli.main import main
from monai_ima.experiments import DATA_SETS, read_results, tables
from monai_ima.experiments.class_tables import class_tables

ROOT = Path(__file__).resolve().parents[1]
PAGES = {
    "ecg": ROOT / "docs" / "results" / "ecg.md",
    "oct": ROOT / "docs" / "results" / "oct.md",
    "fashion_mnist": ROOT / "docs" / "results" / "fashion_mnist.md",
    "hippocampus": ROOT / "docs" / "results" / "hippocampus.md",
    "moons": ROOT / "bundles" / "moons_ima" / "docs" / "README.md",
}
SAME = ("training_samples", "validation_samples", "test_samples", "max_epochs", "batch_size")


def blocks(page):
    """Name, norm, kind and text of what stands below a marker."""
    return re.findall(r"<!-- (\w+) (linf|l2) (\w+) -->\n((?:.+\n)+)", page)


@pytest.mark.parametrize(
    ("data", "at_least"),
    [("ecg", 12), ("oct", 4), ("fashion_mnist", 6), ("moons", 3), ("hippocampus", 3)],
)
def test_every_table_is_that_of_the_result_files(data, at_least):
    found = blocks(PAGES[data].read_text())
    assert len(found) >= at_least
    for name, norm in {(name, norm) for name, norm, *_ in found}:
        runs, own = read_results(ROOT / "results" / data, name, norm), DATA_SETS[data]
        printed = tables(runs, own.accuracy)
        if own.class_levels:
            printed |= class_tables(runs, own.class_levels[norm])
        for *where, kind, text in found:
            if where == [name, norm]:
                assert text.strip() == printed[kind], (name, norm, kind)


@pytest.mark.parametrize("data", PAGES)
def test_every_table_says_by_which_version_of_a_protocol(data):
    found = blocks(PAGES[data].read_text())
    shown = {(name, norm) for name, norm, kind, _ in found if kind != "evaluated"}
    assert shown == {(name, norm) for name, norm, kind, _ in found if kind == "evaluated"}


@pytest.mark.parametrize("data", ["ecg", "fashion_mnist"])
def test_no_table_is_without_its_name(data):
    page = PAGES[data].read_text()
    named = [text for *_, text in blocks(page) if text.startswith("|")]
    assert page.count("\n| ---") == len(named) + page.count("published -->")


@pytest.mark.parametrize(
    ("data", "name", "norm"),
    [
        ("fashion_mnist", "small", "linf"),
        ("fashion_mnist", "small", "l2"),
        ("moons", "default", "linf"),
        ("hippocampus", "cubes", "linf"),
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


def test_reproduce_prints_tables_by_class_of_heartbeats(tmp_path, capsys):
    shutil.copy(ROOT / "results" / "ecg" / "unsampled_linf_ce_seed0.json", tmp_path)
    main(["reproduce", "ecg", "--name", "unsampled", "--output", str(tmp_path)])

    printed = capsys.readouterr().out
    shown = [text for name, _, _, text in blocks(PAGES["ecg"].read_text()) if name == "unsampled"]
    assert len(shown) == 2
    assert all(text in printed for text in shown)
    assert "| method | class | in the test | Se at 0 | Se at 0.05 |" in printed
    assert (tmp_path / "unsampled_linf.png").exists()


def test_reproduce_rejects_runs_of_two_versions_of_a_protocol(tmp_path, capsys):
    for method, version in (("ce", 3), ("ima", 4)):
        path = ROOT / "results" / "ecg" / f"large_linf_{method}_seed0.json"
        run = json.loads(path.read_text())
        run["attack"]["version"] = version
        (tmp_path / path.name).write_text(json.dumps(run))

    with pytest.raises(SystemExit) as ended:
        main(["reproduce", "ecg", "--name", "large", "--output", str(tmp_path)])

    assert ended.value.code == 2
    said = capsys.readouterr().err
    for method, version in (("ce", 3), ("ima", 4)):
        assert f"paper, version {version} (large_linf_{method}_seed0.json)" in said
