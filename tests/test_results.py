"""What holds for every result file, whatever script has made it."""

import json
import re
from pathlib import Path

import pytest
import torch

from monai_ima.robustness import Protocol

ROOT = Path(__file__).resolve().parents[1]
FILES = {
    str(path.relative_to(ROOT / "results")): json.loads(path.read_text())
    for path in sorted((ROOT / "results").rglob("*.json"))
}
ATTACKED = {name: content for name, content in FILES.items() if "attack" in content}
VERSIONS = set(
    re.findall(
        r"^\| `(\w+)` \| (\d+) \|", (ROOT / "docs" / "evaluation.md").read_text(), re.MULTILINE
    )
)
PROTOCOLS = [p for p in Protocol.__subclasses__() if p.__module__.startswith("monai_ima.")]
# Margins of 0.1.0 have five digits; in each of these files, one was rounded onto a level.
ROUNDED = {"fashion_mnist/small_l2_ce_seed0.json", "moons/default_linf_trades_seed0.json"}


def test_there_are_some():
    assert len(FILES) > 50
    assert len(ATTACKED) > 40
    assert len(VERSIONS) > 4
    assert len(PROTOCOLS) > 3


@pytest.mark.parametrize("name", FILES)
def test_it_names_the_version_that_made_it(name):
    content = FILES[name]
    for one in content if isinstance(content, list) else [content]:
        assert re.fullmatch(r"\d+\.\d+\.\d+", one["version"])


@pytest.mark.parametrize("name", ATTACKED)
def test_it_names_a_version_of_its_protocol_that_the_page_explains(name):
    attack = ATTACKED[name]["attack"]
    assert (attack["protocol"], str(attack["version"])) in VERSIONS


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_page_explains_each_protocol_as_it_is_now(protocol):
    mine = [int(version) for name, version in VERSIONS if name == protocol.name]
    assert max(mine) == protocol.version
    assert sorted(mine) == list(range(1, protocol.version + 1))


def test_the_versions_that_were_added_to_older_files_follow_their_descriptions():
    attacks = [run["attack"] for run in ATTACKED.values() if run["version"] == "0.1.0"]
    versions = {(attack["protocol"], attack["version"]) for attack in attacks}
    descriptions = {attack["description"] for attack in attacks}
    both = {(a["protocol"], a["version"], a["description"]) for a in attacks}
    assert len(versions) == len(descriptions) == len(both)


@pytest.mark.parametrize("name", [name for name in ATTACKED if "margins" in ATTACKED[name]])
def test_its_margins_make_its_curve(name):
    run = ATTACKED[name]
    margins = [torch.inf if margin is None else margin for margin in run["margins"]]
    eps = torch.tensor(run["curve"]["eps"], dtype=torch.float64)
    robust = torch.tensor(margins, dtype=torch.float64)[:, None] > eps
    curve = [round(accuracy * len(margins)) for accuracy in run["curve"]["accuracy"]]
    off = [abs(a - b) for a, b in zip(robust.sum(dim=0).tolist(), curve, strict=True)]
    assert sum(off) == (1 if name in ROUNDED and run["version"] == "0.1.0" else 0)
