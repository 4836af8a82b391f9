"""What the README says is what the files say."""

import json
import re
import runpy
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


def test_example_runs():
    (example,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    names = {}
    exec(example, names)  # noqa: S102  our own README
    assert names["attacked"].success.shape == names["boundary"].distance.shape == (8,)
    assert names["boundary"].success.dtype == torch.bool


def test_every_linked_file_exists():
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert len(links) > 5
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_setting_is_in_the_page_of_the_bundle():
    page = (ROOT / "bundles" / "oct_ima" / "docs" / "README.md").read_text()
    settings = re.findall(
        r'^  "(\w+)": [^{]', (ROOT / "bundles/oct_ima/train.json").read_text(), re.MULTILINE
    )
    own = {"imports", "bundle_root", "method", "network", "initialize", "run"}
    own |= {"resuming", "margin_dataset"}
    assert {s for s in settings if f"`{s}`" not in page} <= own


@pytest.mark.parametrize("attack", ["pgd", "bpgd"])
def test_speed_table_is_that_of_the_result_file(attack):
    pytest.importorskip("foolbox", reason="the benchmark compares with it")
    script = runpy.run_path(str(ROOT / "scripts" / "benchmarks" / "attack_speed.py"))
    report = json.loads((ROOT / "results" / "benchmarks" / "attack_speed.json").read_text())
    page = (ROOT / "docs" / "speed.md").read_text()
    marker = f"<!-- {attack} -->\n"
    start = page.index(marker) + len(marker)
    assert page[start:].startswith(script[f"{attack}_table"](report[attack]))


def test_training_step_table_is_that_of_the_result_file():
    script = runpy.run_path(str(ROOT / "scripts" / "benchmarks" / "training_step.py"))
    path = ROOT / "results" / "benchmarks" / "training_step.json"
    page = (ROOT / "docs" / "speed.md").read_text()
    start = page.index("<!-- step -->\n") + len("<!-- step -->\n")
    assert page[start:].startswith(
        script["cost_table"](json.loads(path.read_text())["rows"]) + "\n"
    )
