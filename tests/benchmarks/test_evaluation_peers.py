"""The benchmark judges rightly, and its page says what its result file says."""

import json
import runpy
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from linear import exact_distance, linear_model

from monai_ima.robustness import CountingModel

pytest.importorskip("foolbox", reason="the benchmark compares with it")
pytest.importorskip("art", reason="the benchmark compares with it")

ROOT = Path(__file__).resolve().parents[2]
REPORT = json.loads((ROOT / "results" / "benchmarks" / "evaluation_peers.json").read_text())


@pytest.fixture(scope="module")
def script():
    folder = ROOT / "scripts" / "benchmarks"
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))  # as for a script that is run
        return runpy.run_path(str(folder / "evaluation_peers.py"))


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # ART, with a tensor of torch
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_every_evaluation_is_right_about_a_linear_model(script, norm):
    network = linear_model((1, 2, 3), classes=4)
    network[1].bias.data = -0.5 * network[1].weight.data.sum(dim=1)  # equal for a grey image
    network[1].bias.data[2:] -= 100  # two classes: nothing leads an attack to a farther one
    model = CountingModel(network).eval()
    inputs = 0.2 + 0.6 * torch.rand(40, 1, 2, 3)
    labels = model(inputs).argmax(dim=1)
    distance = exact_distance(network, inputs, labels, norm).detach()
    levels = distance.quantile(torch.tensor([0.3, 0.7]))
    clear = ((distance[:, None] / levels - 1).abs() > 0.03).all(dim=1)
    assert clear.sum() > 30

    figures = script["compare"](model, inputs, labels, levels.tolist(), norm, rounds=2)
    for name, evaluation in script["evaluations"](model).items():
        standing = evaluation(inputs, labels, levels.tolist(), norm)
        assert torch.equal(standing[clear], distance[clear, None] > levels), name
    for name, accuracy in figures["accuracy"].items():
        assert accuracy == pytest.approx([0.7, 0.3], abs=0.05), name
    assert figures["gradients"]["plain"] == 2 * 100 * 2
    assert script["floor"](figures, "paper") <= figures["gradients"]["paper"] < 400


@pytest.mark.parametrize("kind", ["robust", "cost", "target"])
def test_table_is_that_of_the_result_file(script, kind):
    page = (ROOT / "docs" / "evaluation_speed.md").read_text()
    marker = f"<!-- {kind} -->\n"
    start = page.index(marker) + len(marker)
    assert page[start:].startswith(script[f"{kind}_table"](REPORT["cases"]) + "\n")


def test_page_says_which_versions_of_the_protocols_were_compared(script):
    assert set(REPORT["protocols"]) == {"paper", "screen"}
    page = (ROOT / "docs" / "evaluation_speed.md").read_text()
    assert f"\n{script['evaluated'](REPORT)}\n" in page


def test_accuracies_fall_as_the_page_speaks_of():
    for case in REPORT["cases"]:
        for accuracy in (case["accuracy"]["paper"], case["accuracy"]["plain"]):
            assert accuracy[0] > 0.9
            assert accuracy[-1] < 0.1
            assert accuracy == sorted(accuracy, reverse=True)
            assert max(a - b for a, b in pairwise(accuracy)) < 0.25


def test_robust_set_is_nearer_to_that_of_each_peer_than_chance_alone():
    assert {(case["model"], case["norm"]) for case in REPORT["cases"]} == {
        (model, norm) for model in ("ce", "ima") for norm in ("linf", "l2")
    }
    for case in REPORT["cases"]:
        alone, levels = case["robust_for_paper_alone"], len(case["eps"])
        assert levels == len(alone["plain"]) == len(alone["foolbox"]) == len(alone["ART"]) == 7
        assert max(alone["plain"]) <= 0.005 * case["n"]  # the same starts
        for peer in ("foolbox", "ART"):  # starts of their own, as foolbox has the second time
            assert sum(alone[peer]) < sum(case["robust_by_chance"])
            assert sum(case["accuracy"]["paper"]) < sum(case["accuracy"][peer])
