"""Whether the answers of small margin are the wrong ones: error rate against coverage.

    python scripts/risk_coverage.py runs/oct_ce --name oct_ce
    python scripts/risk_coverage.py

The first command measures, for the test samples of a run, the confidence (the probability of the answer)
and the margin of each answer, by the attacks of monai-ima predict, and keeps them with what they say in
results/risk_coverage/NAME.json. Both draw results/risk_coverage/curves.png from all files there, and
print the table of docs/results/risk_coverage.md.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from monai_ima import __version__
from monai_ima.data import TensorSamples
from monai_ima.deployment.trained_run import TrainedRun
from monai_ima.handlers.evaluation_samples import fingerprints
from monai_ima.report import markdown_table
from monai_ima.robustness import changed_answers, get_protocol, percentile_interval
from monai_ima.robustness.selective import area_under_risk, risk_at_coverage
from monai_ima.robustness.uncertainty import numbered

RESULTS = Path(__file__).resolve().parents[1] / "results" / "risk_coverage"
SCORES = {"confidence": "confidence", "margin_linf": "margin (L∞)", "margin_l2": "margin (L2)"}
COVERAGES = (1.0, 0.9, 0.8, 0.5)
DRAWS = 1000


def main() -> None:
    """Measure a run if one is given, then draw and print all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, nargs="?", help="output folder of a training")
    parser.add_argument("--name", help="of the result (default: the folder's)")
    arguments = parser.parse_args()
    RESULTS.mkdir(parents=True, exist_ok=True)
    if arguments.run is not None:
        path = RESULTS / f"{arguments.name or arguments.run.resolve().name}.json"
        path.write_text(json.dumps(result(TrainedRun(arguments.run))) + "\n")
    results = read()
    curves(results).savefig(RESULTS / "curves.png", dpi=120)
    print(table(results))


def read() -> dict[str, dict[str, Any]]:
    """The result files, by their names."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))}


def result(run: TrainedRun) -> dict[str, Any]:
    """What a result file holds: each test sample's scores, and what they say of the errors."""
    samples = run.datalist.test
    items = samples.samples if isinstance(samples, TensorSamples) else samples
    inputs = (
        samples.inputs
        if isinstance(samples, TensorSamples)
        else torch.stack([torch.as_tensor(run.preprocessing(item)["image"]) for item in items])
    )
    protocol = get_protocol("minimum_norm")
    answers = changed_answers(
        run.network, inputs, protocol=protocol, bounds=run.bounds, index=fingerprints(inputs)
    )
    labels = torch.tensor([item["label"] for item in items])
    # the float32 of a probability near 1 has no room: the confidence is kept as log-odds
    probabilities = logits(run, inputs).double().softmax(dim=1)
    top, predicted = probabilities.max(dim=1)
    rest = probabilities.scatter(1, predicted[:, None], 0).sum(dim=1)
    scores = {
        "confidence": (top / rest).log(),
        "margin_linf": answers["linf"].margins,
        "margin_l2": answers["l2"].margins,
    }
    wrong = predicted != labels
    patients = numbered([str(item.get("patient") or "") for item in items])
    groups = torch.arange(len(wrong)) if patients is None else patients
    return {
        "version": __version__,
        "settings": {
            name: run.record.settings.get(name)
            for name in ("method", "norm", "eps_max", "max_epochs", "image_size", "split", "seed")
        },
        "classes": run.record.classes,
        "attack": {
            "protocol": protocol.name,
            "version": protocol.version,
            "description": protocol.description,
        },
        "n": len(wrong),
        "patients": int(groups.unique().numel()),
        "wrong": wrong.int().tolist(),
        "patient": groups.tolist(),
        "scores": {  # null where no change was found
            name: [None if math.isinf(value) else value for value in score.tolist()]
            for name, score in scores.items()
        },
        "summary": summary(wrong, scores, groups),
    }


def logits(run: TrainedRun, inputs: Tensor) -> Tensor:
    """Of the network, batch by batch."""
    with torch.no_grad():
        return torch.cat([run.network(part) for part in inputs.split(128)])


def summary(wrong: Tensor, columns: dict[str, Tensor], groups: Tensor) -> dict[str, Any]:
    """Areas and risks, with 95 % intervals over patients, and differences from the confidence's."""
    generator = torch.Generator().manual_seed(0)
    members = [(groups == group).nonzero()[:, 0] for group in groups.unique()]
    drawn: dict[str, list[list[float]]] = {name: [] for name in columns}
    for _ in range(DRAWS):
        chosen = torch.randint(len(members), (len(members),), generator=generator)
        rows = torch.cat([members[at] for at in chosen.tolist()])
        for name, score in columns.items():
            drawn[name].append(measured(wrong[rows], score[rows]))
    draws = {name: torch.tensor(values, dtype=torch.float64) for name, values in drawn.items()}
    found: dict[str, Any] = {}
    for name, score in columns.items():
        values = measured(wrong, score)
        ends = percentile_interval(draws[name]).tolist()
        beyond = percentile_interval(draws[name] - draws["confidence"]).tolist()
        found[name] = {
            "area": [values[0], *ends[0]],
            "area_less_that_of_confidence": [
                values[0] - measured(wrong, columns["confidence"])[0],
                *beyond[0],
            ],
            "risk": {
                f"{coverage:g}": [value, *end]
                for coverage, value, end in zip(COVERAGES, values[1:], ends[1:], strict=True)
            },
        }
    return found


def measured(wrong: Tensor, score: Tensor) -> list[float]:
    """The area under the risk, then the risk at each of the coverages."""
    risk = risk_at_coverage(wrong, score)
    kept = [max(round(coverage * len(wrong)), 1) for coverage in COVERAGES]
    return [area_under_risk(wrong, score), *(float(risk[count - 1]) for count in kept)]


def table(results: dict[str, dict[str, Any]]) -> str:
    """Areas and risks of all results, in Markdown."""
    heading = ["run", "kept by", "area", "less that of confidence"]
    heading += [f"errors at {coverage:.0%}" for coverage in COVERAGES]
    rows = [heading]
    for name, content in results.items():
        for score, title in SCORES.items():
            found = content["summary"][score]
            rows.append(
                [
                    name,
                    title,
                    spread(found["area"]),
                    "" if score == "confidence" else spread(found["area_less_that_of_confidence"]),
                    *(spread(found["risk"][f"{coverage:g}"]) for coverage in COVERAGES),
                ]
            )
    return markdown_table(rows)


def spread(values: list[float]) -> str:
    """A number and its interval."""
    value, low, high = values
    return f"{value:.3f} ({low:.3f} to {high:.3f})"


def curves(results: dict[str, dict[str, Any]]) -> Figure:
    """The error rate of what is kept, against how much is kept; a panel for each result."""
    figure = Figure(figsize=(3.4 * len(results), 3.2), layout="constrained")
    panels = figure.subplots(1, len(results), squeeze=False)[0]
    for axes, (name, content) in zip(panels, results.items(), strict=True):
        wrong = torch.tensor(content["wrong"]).bool()
        coverage = torch.arange(1, len(wrong) + 1) / len(wrong)
        for (score, title), color in zip(
            SCORES.items(), ("0.5", "#b3261e", "#1f5a85"), strict=True
        ):
            kept = [math.inf if value is None else value for value in content["scores"][score]]
            values = torch.tensor(kept, dtype=torch.float64)
            # the first few cases are all chance
            start = len(wrong) // 20
            risk = risk_at_coverage(wrong, values)
            axes.plot(coverage[start:], risk[start:], color=color, label=title)
        axes.axhline(float(wrong.double().mean()), color="0.8", lw=0.8, zorder=0)
        axes.set_title(f"{name} (n = {len(wrong)})", fontsize="medium")
        axes.set_xlabel("share of the cases that is kept")
        axes.set_ylim(bottom=0)
    panels[0].set_ylabel("error rate of what is kept")
    panels[-1].legend(fontsize="small")
    return figure


if __name__ == "__main__":
    main()
