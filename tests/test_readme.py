"""What the README and the pages of numbers say is what the files say."""

import json
import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


def test_pythons_are_those_of_the_package_and_of_ci():
    package = (ROOT / "pyproject.toml").read_text()
    named = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', package)
    assert f"With Python {named[0]} to {named[-1]}," in README
    assert f'requires-python = ">={named[0]}"' in package
    assert f"for version in {' '.join(named)}; do" in (ROOT / ".ci" / "run").read_text()


def test_ci_runs_every_bundle():
    calls = (ROOT / ".ci" / "bundles").read_text()
    run = set(re.findall(r"^(?:train|run) (\w+)", calls, re.MULTILINE))
    assert run == {path.parent.name for path in ROOT.glob("bundles/*/metadata.json")}


@pytest.mark.parametrize("attack", ["pgd", "bpgd"])
def test_speed_table_is_that_of_the_result_file(attack):
    for peer in ("foolbox", "art", "pyautoattack"):
        pytest.importorskip(peer, reason="the benchmark compares with it")
    script = runpy.run_path(str(ROOT / "scripts" / "benchmarks" / "attack_speed.py"))
    report = json.loads((ROOT / "results" / "benchmarks" / "attack_speed.json").read_text())
    page = (ROOT / "docs" / "speed.md").read_text()
    marker = f"<!-- {attack} -->\n"
    start = page.index(marker) + len(marker)
    table = script["measuring"].table(script[f"{attack.upper()}_COLUMNS"], report[attack])
    assert page[start:].startswith(table)


@pytest.mark.parametrize(
    ("marker", "table", "rows"),
    [("step", "cost_table", "rows"), ("epoch", "epoch_table", "epochs")],
)
def test_training_step_tables_are_those_of_the_result_file(marker, table, rows):
    script = runpy.run_path(str(ROOT / "scripts" / "benchmarks" / "training_step.py"))
    path = ROOT / "results" / "benchmarks" / "training_step.json"
    page = (ROOT / "docs" / "speed.md").read_text()
    start = page.index(f"<!-- {marker} -->\n") + len(f"<!-- {marker} -->\n")
    assert page[start:].startswith(script[table](json.loads(path.read_text())[rows]) + "\n")


@pytest.mark.parametrize("table", ["strength", "margins"])
def test_precision_tables_are_those_of_the_result_file(table):
    script = runpy.run_path(str(ROOT / "scripts" / "benchmarks" / "precision.py"))
    report = json.loads((ROOT / "results" / "benchmarks" / "precision.json").read_text())
    page = (ROOT / "docs" / "speed.md").read_text()
    start = page.index(f"<!-- {table} -->\n") + len(f"<!-- {table} -->\n")
    assert page[start:].startswith(script[f"{table}_table"](report["rows"]) + "\n")
