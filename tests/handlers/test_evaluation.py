"""The whole evaluation on models whose decision boundaries are known."""

import errno
import hashlib
import json
import logging
import math
import os
import random
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from folders import contents, rows_in
from ignite.engine import Events
from linear import exact_distance, linear_model
from monai.data import DataLoader, Dataset, MetaTensor
from monai.engines import SupervisedEvaluator
from monai.transforms import Lambdad
from same import same
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import monai_ima.robustness.checks as checks_module
import monai_ima.robustness.measure as measure_module
from monai_ima.bundle import claim_folder, evaluation_summary
from monai_ima.handlers import (
    RobustnessEvaluation,
    evaluation,
    evaluation_checks,
    files,
    folder_lock,
)
from monai_ima.handlers.evaluation_progress import Examples, Progress
from monai_ima.handlers.evaluation_report import sample_rows
from monai_ima.handlers.evaluation_samples import SampleList
from monai_ima.handlers.folder_lock import FolderInUseError
from monai_ima.handlers.record_file import RecordFile
from monai_ima.robustness import BlackBox, Paper, Screen
from monai_ima.robustness.measure import Measure

CPU = torch.device("cpu")
CLASSES = ["CNV", "DME", "NORMAL"]
LEVELS = {"linf": [0.02, 0.05, 0.12], "l2": [0.1, 0.2, 0.3]}
UNITS = {"name": "grey levels of 255", "per_unit": 255}
WARNING = "patient p0 is in training and test"
REPORT = ("report.html", "robustness.json", "samples.csv")
WHOLE = {"check_samples": 3, "noise_draws": 1, "auroc_steps": 2}


def listed(model, shape=(1, 4, 5), n=20):
    """Samples of which the model gets all but the first three right, three of each patient."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.rand(n, *shape, generator=generator)
    labels = model(inputs).argmax(dim=1).tolist()
    labels[:3] = [(label + 1) % 3 for label in labels[:3]]
    return [
        {"image": image, "label": label, "id": f"{place}.png", "patient": f"p{place // 3}"}
        for place, (image, label) in enumerate(zip(inputs, labels, strict=True))
    ]


def handler(folder, samples, **settings):
    """Without what takes time, unless it is asked for."""
    quick = {
        "noise_levels": {"linf": LEVELS["linf"]},
        "class_names": CLASSES,
        "protocol": Screen(steps=10),
        "chunk_size": 6,
        "check_samples": 0,
        "noise_draws": 0,
        "auroc_steps": 0,
    }
    return RobustnessEvaluation(samples=samples, output_dir=folder, **quick | settings)


def run(model, data, evaluation, *, batch_size=4, **loader):
    evaluator = SupervisedEvaluator(
        device=CPU,
        val_data_loader=DataLoader(data, batch_size=batch_size, **loader),
        network=model,
        val_handlers=[evaluation],
    )
    evaluator.run()
    return evaluator


@pytest.fixture(scope="module", autouse=True)
def _few_samples_are_enough():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checks_module, "_NEEDED", 1)
        patch.setattr(measure_module, "ENOUGH_PATIENTS", 3)
        yield


@pytest.fixture
def written(monkeypatch):
    """What would be written, in place of the files: drawing them takes seconds."""
    found = SimpleNamespace()

    def keep(folder, report, rows, **rest):
        plain = json.loads(json.dumps(report, allow_nan=False))
        vars(found).update(rest, rows=list(rows), report=plain)

    monkeypatch.setattr(evaluation, "write_evaluation", keep)
    return found


class Interrupted(Exception):  # noqa: N818
    """From inside, like Ctrl-C."""


@pytest.fixture
def attacked(monkeypatch):
    """The samples that were attacked, call by call; ``attacked.until`` calls are let through."""
    calls, measure = SimpleNamespace(places=[], until=math.inf), Measure.__call__

    def counted(self, model, inputs, labels, index):
        if len(calls.places) == calls.until:
            raise Interrupted
        calls.places.append(index.tolist())
        return measure(self, model, inputs, labels, index)

    monkeypatch.setattr(Measure, "__call__", counted)
    return calls


@pytest.fixture(scope="module")
def problem():
    model = linear_model((1, 4, 5), classes=3)
    return model, listed(model)


@pytest.fixture
def evaluate(tmp_path, problem):
    """Evaluate the samples of the problem, or others, in ``tmp_path`` or in a folder in it."""

    def call(
        folder="", *, model=problem[0], samples=problem[1], data=None, loader=None, **settings
    ):
        """``data`` are what is loaded, where they are not the samples as they are listed."""
        own = handler(tmp_path / folder, samples, **settings)
        return run(model, samples if data is None else data, own, **loader or {})

    return call


@pytest.fixture
def interrupt(attacked, evaluate):
    """The same, interrupted after some calls of the attack."""

    def call(until, *arguments, **settings):
        attacked.until = until
        with pytest.raises(Interrupted):
            evaluate(*arguments, **settings)
        attacked.until = math.inf

    return call


# --- what is left behind --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluation") / "new"
    model = linear_model((1, 4, 5), classes=3)
    samples = listed(model)
    whole = handler(
        folder,
        samples,
        noise_levels=LEVELS,
        protocol=Paper(steps=40),
        check_samples=12,
        noise_draws=2,
        auroc_steps=3,
        settings={"model": "a.pt"},
        warning=WARNING,
        units=UNITS,
    )
    evaluator = run(model, samples, whole)
    return SimpleNamespace(folder=folder, model=model, samples=samples, evaluator=evaluator)


def no_constant(name):
    raise AssertionError(f"{name} is no JSON")


def report_in(folder):
    return json.loads((folder / "robustness.json").read_text(), parse_constant=no_constant)


def test_every_file_is_there(finished):
    names = {path.name.split(".out.")[0] for path in finished.folder.iterdir()}
    assert names == {
        "report.html", "robustness.json", "robustness.csv", "robustness.xlsx", "robustness_linf.png",
        "robustness_l2.png", "samples.csv", "samples.xlsx", "events", "progress.records",
    }  # fmt: skip


def test_a_row_a_sample_in_the_order_of_the_list(finished):
    rows = rows_in(finished.folder)
    names = [f"{what}_{norm}" for norm in LEVELS for what in ("broke_at", "broken_as", "margin")]
    names += [f"probability of {name}" for name in CLASSES]
    assert list(rows[0]) == ["id", "patient", "label", "prediction", *names]
    for row, sample in zip(rows, finished.samples, strict=True):
        assert (row["id"], row["patient"]) == (sample["id"], sample["patient"])
        assert row["label"] == CLASSES[sample["label"]]
        prediction = finished.model(sample["image"][None]).argmax()
        assert row["prediction"] == CLASSES[prediction]
        given = torch.tensor([float(row[f"probability of {name}"]) for name in CLASSES])
        torch.testing.assert_close(given, finished.model(sample["image"][None]).softmax(dim=1)[0])


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_rows_add_up_to_the_curve(finished, norm):
    rows, report = rows_in(finished.folder), report_in(finished.folder)
    (curve,) = [curve for curve in report["curves"] if curve["norm"] == norm]
    assert report["n"] == curve["n"] == len(rows) == 20
    assert curve["eps"] == [0, *LEVELS[norm]]
    labels = [row["label"] for row in rows]
    assert report["class_counts"] == [labels.count(name) for name in CLASSES]
    for level, eps in enumerate(curve["eps"]):
        stands = [
            row[f"broke_at_{norm}"] in ("", *map(str, curve["eps"][level + 1 :])) for row in rows
        ]
        by_margin = [float(row[f"margin_{norm}"] or math.inf) > eps for row in rows]
        assert stands == by_margin
        assert sum(stands) / len(rows) == curve["accuracy"][level]
        given = [
            row["label"] if stood else row["prediction"] if eps == 0 else row[f"broken_as_{norm}"]
            for row, stood in zip(rows, stands, strict=True)
        ]
        for number, name in enumerate(CLASSES):
            own = [stood for stood, label in zip(stands, labels, strict=True) if label == name]
            assert sum(own) / len(own) == pytest.approx(curve["per_class"][number][level])
            others = [g != name for g, label in zip(given, labels, strict=True) if label != name]
            specificity = sum(others) / len(others)
            assert specificity == pytest.approx(curve["specificity"][number][level])
    assert 0 < curve["accuracy"][-1] < curve["accuracy"][1] < curve["accuracy"][0] == 17 / 20


def test_misclassified_and_unbroken_rows(finished):
    for row in rows_in(finished.folder):
        for norm, levels in LEVELS.items():
            at, given, margin = (row[f"{n}_{norm}"] for n in ("broke_at", "broken_as", "margin"))
            if row["prediction"] != row["label"]:
                assert (at, given, margin) == ("0.0", row["prediction"], "0.0")
            elif at == "":
                assert (given, margin) == ("", "")
            else:
                assert given in {*CLASSES} - {row["label"]}
                assert 0 < float(margin) <= float(at) <= levels[-1]


def test_the_report_as_json(finished):
    report = report_in(finished.folder)

    assert list(report) == [
        "settings", "warning", "clean_findings", "versions", "attack", "inputs", "network", "classes", "n", "patients",
        "class_counts", "without_noise", "curves", "checks", "digests", "sha256",
    ]  # fmt: skip
    assert report["settings"] == {"model": "a.pt"}
    assert report["clean_findings"] == []
    assert set(report["versions"]) == {"monai_ima", "torch", "monai", "python"}
    attack = {"protocol": "paper", "steps": 40, "bounds": [0, 1], "seed": 0, "outputs": "logits"}
    assert attack.items() <= report["attack"].items()
    assert report["attack"]["version"] == Paper.version
    assert report["attack"]["description"].startswith("40-step PGD at every level")
    assert (report["classes"], report["n"], report["patients"]) == (CLASSES, 20, 7)
    assert report["network"] == {"class": "Sequential", "parameters": 3 * 20 + 3}
    assert report["inputs"] == {"shape": [1, 4, 5], "units": UNITS, "orientation": None}
    assert [curve["norm"] for curve in report["curves"]] == ["linf", "l2"]
    for curve in report["curves"]:
        assert set(curve) == {
            "norm", "n", "eps", "accuracy", "low", "high", "patient_low", "patient_high", "auc",
            "auc_low", "auc_high", "balanced_accuracy", "per_class", "specificity",
            "positive_predictive_value", "confusion", "auroc", "auroc_steps", "median_margin",
            "white_noise", "forwards", "gradients", "zero_gradients", "two_classes",
            "most_fragile",
        }  # fmt: skip
        assert {len(curve[name]) for name in ("low", "high", "patient_low", "auroc")} == {4}
        assert 0 <= curve["auc_low"] <= curve["auc"] <= curve["auc_high"] <= 1
        # at each of three levels at most: two losses from two starts, 40 steps
        assert 0 < curve["gradients"] < 3 * 4 * 40
        assert curve["white_noise"]["draws"] == 2
    for norm in LEVELS:
        checks = {check["name"]: check for check in report["checks"] if check["norm"] == norm}
        assert list(checks) == [
            "large_eps", "more_iterations", "black_box", "strong", "monotone",
            "zero_gradient", "logits",
        ]  # fmt: skip
        assert {check["passed"] for check in checks.values()} == {True}
        assert all(
            set(c) == {"name", "norm", "passed", "verdict", "figures"} for c in checks.values()
        )


def test_the_checks_are_made_on_as_many_samples_as_asked_for(finished):
    report = report_in(finished.folder)
    assert report["attack"]["check_samples"] == 12
    for check in report["checks"]:
        for accuracy in check["figures"].get("accuracy", ()):
            assert 12 * accuracy == pytest.approx(round(12 * accuracy))


def test_metrics_of_the_engine_and_csv_are_the_curve(finished):
    metrics = finished.evaluator.state.metrics
    levels = rows_in(finished.folder, "robustness.csv")
    assert list(levels[0]) == [
        "epoch",
        "norm",
        "eps",
        "accuracy",
        "low",
        "high",
        "n",
        "balanced_accuracy",
        "patient_low",
        "patient_high",
    ]
    for curve in report_in(finished.folder)["curves"]:
        norm = curve["norm"]
        assert metrics[f"robust_accuracy/{norm}/auc"] == curve["auc"]
        own = [row for row in levels if row["norm"] == norm]
        assert [float(row["eps"]) for row in own] == curve["eps"]
        for row, eps, accuracy in zip(own, curve["eps"], curve["accuracy"], strict=True):
            assert float(row["accuracy"]) == accuracy
            assert metrics[f"robust_accuracy/{norm}/eps_{eps:g}"] == accuracy
        for name in ("balanced_accuracy", "patient_low", "patient_high"):
            assert [float(row[name]) for row in own] == curve[name]


def test_events_have_the_numbers_the_figures_and_the_checks(finished):
    events = EventAccumulator(str(finished.folder), size_guidance={"images": 0}).Reload()
    for curve in report_in(finished.folder)["curves"]:
        tag = f"robust_accuracy/{curve['norm']}"
        for eps, accuracy in zip(curve["eps"], curve["accuracy"], strict=True):
            (event,) = events.Scalars(f"{tag}/eps_{eps:g}")
            assert (event.step, event.value) == (0, pytest.approx(accuracy))
        assert events.Scalars(f"{tag}/auc")[0].value == pytest.approx(curve["auc"])
        for figure in ("curve", "classes", "margins", "white_noise", "examples"):
            (image,) = events.Images(f"robustness/{curve['norm']}/{figure}")
            assert image.width > 300
    (text,) = events.Tensors("robustness/checks/text_summary")
    table = text.tensor_proto.string_val[0].decode()
    assert table.count("passed") == 14
    assert "not run" not in table


def test_the_page_shows_the_most_fragile_and_the_hardest_samples(finished):
    page = (finished.folder / "report.html").read_text()
    margins = sorted(
        (float(row["margin_l2"] or math.inf), row["id"])
        for row in rows_in(finished.folder)
        if row["prediction"] == row["label"]
    )
    assert math.isinf(margins[-4][0])
    for _, name in (*margins[:4], *[one for one in margins if math.isinf(one[0])][:4]):
        assert f"{name}, true class" in page
    assert "a.pt" in page


def test_the_warning_of_the_data_is_in_the_report_on_the_page_and_in_the_last_words(finished):
    assert report_in(finished.folder)["warning"] == WARNING
    assert WARNING in (finished.folder / "report.html").read_text()
    assert f"WARNING: {WARNING}" in evaluation_summary(finished.folder).splitlines()


@pytest.mark.parametrize("shape", [(6,), (2, 9), (1, 2, 3, 4)], ids=str)
def test_inputs_of_any_shape(tmp_path, shape):
    model = linear_model(shape, classes=3)
    samples = listed(model, shape, n=7)
    evaluator = run(model, samples, handler(tmp_path, samples), batch_size=3)

    accuracy = report_in(tmp_path)["curves"][0]["accuracy"]
    assert accuracy[0] == evaluator.state.metrics["robust_accuracy/linf/eps_0"] == 4 / 7
    assert "<img" in (tmp_path / "report.html").read_text()


def test_margins_are_those_of_a_linear_model(problem, evaluate, written):
    model, samples = problem
    evaluate(protocol=Screen(), bounds=None, chunk_size=4)

    inputs = torch.stack([sample["image"] for sample in samples])
    labels = torch.tensor([sample["label"] for sample in samples])
    exact = exact_distance(model, inputs, labels, "linf").double()
    margins = torch.tensor([row["margin_linf"] for row in written.rows]).double()
    torch.testing.assert_close(margins, exact, rtol=0.02, atol=1e-6)


def test_the_network_is_left_as_found(evaluate, written):
    model = nn.Sequential(
        nn.Flatten(), nn.BatchNorm1d(20), nn.Dropout(0.5), nn.Linear(20, 3, bias=False)
    )
    model[3].weight.requires_grad_(False)
    samples = listed(model.eval())
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    evaluate(model=model, samples=samples, **WHOLE)

    assert all(module.training for module in model.modules())
    assert [p.requires_grad for p in model.parameters()] == [True, True, False]
    assert all(parameter.grad is None for parameter in model.parameters())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    assert written.report["curves"][0]["accuracy"][0] == 17 / 20  # in eval mode


# --- interrupted ----------------------------------------------------------------------------------


@pytest.fixture
def few_checks(monkeypatch):
    """The names of the checks that were made; ``few_checks.until`` of them are let through."""
    made = SimpleNamespace(names=[], until=math.inf)

    def counted(check):
        def counting(subset):
            if len(made.names) == made.until:
                raise Interrupted
            made.names.append(check.__name__)
            return check(subset)

        return counting

    checks = {name: checks_module.ON_SUBSET[name] for name in ("large_eps", "strong")}
    counting = {name: counted(check) for name, check in checks.items()}
    for module in (evaluation_checks, checks_module):
        monkeypatch.setattr(module, "ON_SUBSET", counting)
    return made


def test_an_interrupted_evaluation_ends_as_one_run_through(
    tmp_path, evaluate, interrupt, attacked, few_checks, caplog
):
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    evaluate(straight, **WHOLE)
    chunks = [list(range(8)), list(range(8, 16)), list(range(16, 20))]
    assert attacked.places == chunks
    assert few_checks.names == ["large_eps", "strong"]

    attacked.places, few_checks.names = [], []
    for chunks_made, few_checks.until in ((2, 0), (3, 1)):
        interrupt(chunks_made, broken, **WHOLE)
        assert [path.name for path in broken.iterdir()] == ["progress.records"]
    few_checks.until = 2
    evaluate(broken, **WHOLE)

    assert attacked.places == chunks
    assert few_checks.names == ["large_eps", "strong"]
    assert "going on after 16 samples that are finished" in caplog.text
    for name in REPORT:
        assert (straight / name).read_bytes() == (broken / name).read_bytes()

    # A complete evaluation only writes its report again.
    for name in REPORT:
        (broken / name).unlink()
    evaluate(broken, **WHOLE)
    assert attacked.places == chunks
    for name in REPORT:
        assert (straight / name).read_bytes() == (broken / name).read_bytes()
    events = EventAccumulator(str(broken)).Reload()
    assert len(events.Scalars("robust_accuracy/linf/auc")) == 1
    assert not (broken / "previous-1").exists()


def test_a_handler_goes_on_itself(tmp_path, problem, attacked, written):
    """As in a notebook."""
    model, samples = problem
    whole = handler(tmp_path, samples)
    attacked.until = 1
    with pytest.raises(Interrupted):
        run(model, samples, whole)
    attacked.until = math.inf
    for _ in range(2):
        run(model, samples, whole)
        assert attacked.places == [[*range(8)], [*range(8, 16)], [*range(16, 20)]]
        assert [row["id"] for row in written.rows] == [sample["id"] for sample in samples]


def other_weights(model, samples):
    model = linear_model((1, 4, 5), classes=3)
    with torch.no_grad():
        model[1].bias[0] += 0.01
    return model, samples, {}


def other_label(model, samples):
    label = (samples[9]["label"] + 1) % 3
    return model, [*samples[:9], samples[9] | {"label": label}, *samples[10:]], {}


def other_images(model, samples):
    return model, [sample | {"image": 0.9 * sample["image"]} for sample in samples], {}


def fewer_samples(model, samples):
    return model, samples[:18], {}


def other_settings(**settings):
    return lambda model, samples: (model, samples, settings)


CHANGES = {
    "weights": other_weights,
    "a label": other_label,
    "images": other_images,
    "fewer": fewer_samples,
    "levels": other_settings(noise_levels={"linf": [0.02]}),
    "norm": other_settings(noise_levels={"l2": [0.02]}),
    "protocol": other_settings(protocol=Screen(steps=9)),
    "bounds": other_settings(bounds=(-1.0, 1.0)),
    "seed": other_settings(seed=1, noise_draws=1),
    "class names": other_settings(class_names=["a", "b", "c"]),
    "batch size": other_settings(batch_size=7),
}


@pytest.mark.parametrize("change", CHANGES)
def test_another_evaluation_starts_anew(
    tmp_path, problem, evaluate, interrupt, attacked, written, change
):
    folder = tmp_path / "evaluation"
    interrupt(2, folder)
    (folder / "report.html").write_text("earlier")
    before, attacked.places = contents(folder), []

    model, samples, settings = CHANGES[change](*problem)
    evaluate(folder, model=model, samples=samples, **settings)
    assert sum(map(len, attacked.places)) == len(samples)
    assert contents(folder / "previous-1") == before
    rows = written.rows
    evaluate("fresh", model=model, samples=samples, **settings)
    assert rows == written.rows


def test_a_changed_image_among_the_finished_ones_is_told(
    tmp_path, problem, evaluate, interrupt, written
):
    interrupt(2)
    before, samples = contents(tmp_path), problem[1]
    changed = [*samples[:9], samples[9] | {"image": samples[9]["image"].flip(1)}, *samples[10:]]
    with pytest.raises(
        ValueError, match=r"progress.records has begun, got another image 9.png; .*folder"
    ):
        evaluate(samples=changed)
    assert contents(tmp_path) == before


def test_another_batch_of_the_loader_loses_no_sample(
    problem, evaluate, interrupt, attacked, written
):
    interrupt(1, "broken")
    evaluate("broken", loader={"batch_size": 5})
    assert attacked.places == [[*range(8)], [*range(8, 15)], [*range(15, 20)]]
    rows = written.rows
    evaluate("straight")
    assert [row["id"] for row in rows] == [sample["id"] for sample in problem[1]]
    assert rows == written.rows


def test_what_cannot_be_read_is_set_aside(tmp_path, evaluate, attacked, written, caplog):
    (tmp_path / "progress.records").write_bytes(b"cut short")
    evaluate()

    assert sum(map(len, attacked.places)) == 20
    assert "progress.records cannot be read; the evaluation starts anew" in caplog.text
    assert (tmp_path / "previous-1" / "progress.records").read_bytes() == b"cut short"


def changed(content, name, place, value):
    content["answers"][name].flatten()[place] = value


BAD_PROGRESS = {
    "a margin": lambda content: changed(content, "linf/margins", 5, -1.0),
    "no margin": lambda content: changed(content, "linf/margins", 5, math.nan),
    "a label": lambda content: changed(content, "labels", 5, 7),
    "a probability": lambda content: changed(content, "probabilities", 5, 1.5),
    "fewer labels": lambda content: content["answers"].update(labels=torch.zeros(2).long()),
    "a place": lambda content: content["examples"]["linf"]["places"].add_(100),
    "no answers": lambda content: content.pop("answers"),
    "another kind": lambda content: content.update(answers=3),
}


def test_progress_that_no_evaluation_makes_is_not_taken_up(tmp_path, evaluate, written, caplog):
    evaluate()
    path = tmp_path / "progress.records"
    content = path.read_bytes()
    for case, change in BAD_PROGRESS.items():
        path.write_bytes(content)
        assert Progress.read(path).finished == 20
        first, *others = RecordFile(path).read()
        change(first)
        file = RecordFile(path)
        for record in (first, *others):
            file.append(record)
        caplog.clear()
        assert Progress.read(path) is None, case
        assert "cannot be read; the evaluation starts anew" in caplog.text


def part(progress, n):
    """The answers of the first samples, and what was finished then."""
    return {name: values[:n] for name, values in progress.answers.items()}


def state(progress):
    return progress.identity, progress.answers, progress.examples, progress.checks


@pytest.mark.usefixtures("unmeasured")
def test_of_a_thousand_flipped_bits_none_is_taken_up(tmp_path, evaluate, written, caplog):
    evaluate(check_samples=3)
    path = tmp_path / "progress.records"
    content, whole = path.read_bytes(), Progress.read(path)
    number, finished = random.Random(0), []
    for place in number.choices(range(len(content)), k=1000):
        flipped = content[place] ^ 1 << number.randrange(8)
        path.write_bytes(content[:place] + bytes([flipped]) + content[place + 1 :])
        found = Progress.read(path)
        finished.append(found.finished if found else 0)
        if found:
            assert same(part(found, 20), part(whole, found.finished))
            assert found.checks != whole.checks  # they come last
    assert set(finished) == {0, 8, 16, 20}


@pytest.mark.parametrize("cut", ["torn", "damaged", "header"])
def test_what_stands_before_the_damage_is_not_done_again(
    tmp_path, evaluate, interrupt, attacked, few_checks, written, caplog, cut
):
    evaluate("straight", **WHOLE)
    rows, examples = written.rows, written.examples
    folder, ends = tmp_path / "broken", []
    for chunks in (1, 2):
        attacked.places = []
        interrupt(chunks - len(ends), folder, **WHOLE)
        ends.append((folder / "progress.records").stat().st_size)
    path = folder / "progress.records"
    content = path.read_bytes()
    path.write_bytes(
        {
            "torn": content[:-100],
            "damaged": content[: ends[0] + 100] + b"X" + content[ends[0] + 101 :],
            "header": content[: ends[0] + 4],
        }[cut]
    )
    caplog.clear()
    attacked.places = []
    evaluate(folder, **WHOLE)
    assert attacked.places == [[*range(8, 16)], [*range(16, 20)]]
    (told,) = [message for message in caplog.messages if "damaged" in message]
    assert "what is before them, of 8 samples, is intact" in told
    assert written.rows == rows
    assert len(examples["linf"]) == len(written.examples["linf"])
    for ours, other in zip(written.examples["linf"], examples["linf"], strict=True):
        assert same(vars(ours), vars(other))
    assert not (folder / "previous-1").exists()
    assert same(
        state(Progress.read(path)),
        state(Progress.read(tmp_path / "straight" / "progress.records")),
    )


def bytes_written():
    (line,) = [x for x in Path("/proc/self/io").read_text().splitlines() if x.startswith("wchar")]
    return int(line.split()[1])


def test_what_is_written_grows_with_the_samples_and_not_with_their_square(
    tmp_path, written, monkeypatch
):
    model = linear_model((1, 4, 5), classes=3)
    found = []
    for n in (100, 200, 400):
        samples = listed(model, n=n)
        before = bytes_written()
        run(model, samples, handler(tmp_path / str(n), samples, chunk_size=4))
        found.append(bytes_written() - before)
    assert found[2] - found[1] < 2.2 * (found[1] - found[0])


class Values(TorchDispatchMode):
    """Counts the values that torch makes or copies, and its calls."""

    def __init__(self):
        super().__init__()
        self.made, self.calls = 0, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        self.calls += 1
        self.made += result.numel() if isinstance(result, torch.Tensor) else 0
        return result


def test_what_is_copied_grows_with_the_samples_and_not_with_their_square(tmp_path):
    found = []
    for chunks in (50, 100, 200):
        progress = Progress(tmp_path / f"{chunks}.records", identity={})
        with Values() as values:
            for _ in range(chunks):
                progress.add({"labels": torch.arange(100)}, {})
            assert len(progress.answers["labels"]) == progress.finished == 100 * chunks
        found.append(values.made)
    assert found[2] < 2.2 * found[1] < 5 * found[0]


def test_examples_are_chosen_by_as_many_calls_however_many_there_are():
    calls = []
    for n in (20, 200):
        samples = torch.rand(n, 1)
        with Values() as values:
            kept = Examples(torch.arange(n), torch.arange(n) / n, samples, samples)
            kept = kept.joined_with(None)
        assert kept.places.tolist() == [0, 1, 2, 3, *range(n - 1, n - 5, -1)]
        calls.append(values.calls)
    assert calls[0] == calls[1]


def test_rows_are_made_a_part_at_a_time(problem, evaluate, written, monkeypatch):
    samples = problem[1]
    evaluate()
    measures = {
        norm: SimpleNamespace(eps=torch.tensor([0, *levels], dtype=torch.float64))
        for norm, levels in LEVELS.items()
        if f"{norm}/margins" in written.answers
    }
    monkeypatch.setattr("monai_ima.handlers.evaluation_report._ROWS", 7)
    rows = sample_rows(SampleList(samples, CLASSES), written.answers, measures)
    assert next(rows) == written.rows[0]
    assert list(rows) == written.rows[1:]


def test_the_digest_of_the_samples_is_that_of_their_list():
    samples = [{"id": f"{n}'", "label": n} for n in range(3)]
    listed = repr([(sample["id"], sample["label"]) for sample in samples])
    digest = hashlib.sha256(listed.encode()).hexdigest()
    assert SampleList(samples, CLASSES).digest == digest


# --- samples of all kinds -------------------------------------------------------------------------


def test_samples_without_names_and_patients(problem, evaluate, written):
    evaluate(samples=[{name: sample[name] for name in ("image", "label")} for sample in problem[1]])

    assert [row["id"] for row in written.rows] == [str(place) for place in range(20)]
    assert {row["patient"] for row in written.rows} == {""}
    assert written.report["patients"] is None
    assert written.report["curves"][0]["patient_low"] is None
    assert {example.patient for example in written.examples["linf"]} == {None}


def test_names_are_ids_or_paths_and_patients_may_be_numbers(problem, evaluate, written):
    samples = problem[1]
    images = {f"{place}/a.png": sample["image"] for place, sample in enumerate(samples)}
    paths = [
        {"image": path, "label": sample["label"], "patient": place // 3}
        for place, (path, sample) in enumerate(zip(images, samples, strict=True))
    ]
    evaluate(samples=paths, data=Dataset(paths, Lambdad("image", images.get)))
    assert [row["id"] for row in written.rows] == list(images)
    assert [row["patient"] for row in written.rows][:4] == ["0", "0", "0", "1"]
    assert written.report["patients"] == 7

    numbered = [sample | {"id": 100 + place} for place, sample in enumerate(samples)]
    evaluate("numbered", samples=numbered)
    assert [row["id"] for row in written.rows][:2] == ["100", "101"]


def test_some_patients_unknown_is_as_all_unknown(problem, evaluate, written):
    first, *others = problem[1]
    evaluate(samples=[first | {"patient": ""}, *others])
    assert written.report["patients"] is None
    assert [row["patient"] for row in written.rows][:2] == ["", "p0"]


def test_meta_tensors_are_plain_tensors_to_the_attacks(problem, evaluate, written):
    evaluate("plain")
    plain = written.rows
    meta = [sample | {"image": MetaTensor(sample["image"])} for sample in problem[1]]
    evaluate("meta", samples=meta, check_samples=2)

    assert written.rows == plain
    for example in written.examples["linf"]:
        assert type(example.clean) is type(example.attacked) is torch.Tensor


def test_nobody_correct_and_a_class_without_samples(tmp_path, problem, evaluate):
    model, samples = problem
    samples = [sample for sample in samples if model(sample["image"][None]).argmax() != 2]
    wrong = [
        sample | {"label": 1 - int(model(sample["image"][None]).argmax())} for sample in samples
    ]
    evaluate(samples=wrong, check_samples=2, noise_draws=1, auroc_steps=1)

    (curve,) = report_in(tmp_path)["curves"]
    assert curve["accuracy"] == [0] * 4
    assert curve["per_class"][2] == [None] * 4
    assert (curve["median_margin"], curve["white_noise"]) == (None, None)


# --- bad input ------------------------------------------------------------------------------------


class Rounded(nn.Sequential):
    """Nothing leads back from the outputs to the inputs."""

    def forward(self, inputs):
        return super().forward(inputs).detach()


def test_without_gradients_a_black_box_goes_on(tmp_path, problem, evaluate, written):
    model = Rounded(problem[0])
    with pytest.raises(ValueError, match="evaluate it under the protocol 'blackbox'"):
        evaluate(model=model, check_samples=3)
    assert contents(tmp_path) == {}

    evaluate(model=model, protocol=BlackBox(30), **WHOLE)
    (curve,) = written.report["curves"]
    assert curve["accuracy"][0] == 17 / 20 > curve["accuracy"][-1]
    assert (curve["gradients"], curve["auroc"], curve["zero_gradients"]) == (0, None, None)
    verdicts = {check["name"]: check["passed"] for check in written.report["checks"]}
    assert verdicts.pop("logits") is True
    assert set(verdicts.values()) == {None}
    assert len(written.report["checks"]) == 7


def outputs(function):
    """A linear model whose logits go through a function."""

    class Changed(nn.Sequential):
        def forward(self, inputs):
            return function(super().forward(inputs))

    return Changed(linear_model((1, 4, 5), classes=3))


BAD_MODELS = {
    "width": (lambda logits: logits[:, :2], r"shape \(4, 3\), for the classes CNV, DME, NORMAL, "),
    "map": (lambda logits: logits[..., None], r"logits of .*, got \(4, 3, 1\) of .*network_def"),
    "dictionary": (
        lambda logits: {"first": logits, "second": logits},
        r"logits of shape \(4, classes\), .* got a dictionary with 'first', 'second'; give",
    ),
    "NaN": (lambda logits: logits * math.nan, r"return finite logits, got NaN or infinity"),
}


@pytest.mark.parametrize("case", BAD_MODELS)
def test_a_model_that_does_not_fit_is_refused_at_once(tmp_path, evaluate, attacked, case):
    function, message = BAD_MODELS[case]
    with pytest.raises(ValueError, match=message):
        evaluate(model=outputs(function))
    assert attacked.places == []
    assert contents(tmp_path) == {}


BAD_DATA = {
    "order": (lambda samples: samples[::-1], {}, r"in their order, got others from .*; turn shuff"),
    "swapped": (
        lambda samples: [*samples[:18], samples[19], samples[18]],
        {},
        r"in their order, got others from sample 16 on; turn shuffling off",
    ),
    "dropped": (
        lambda samples: samples,
        {"batch_size": 6, "drop_last": True},
        r"listed samples, g",
    ),
    "more": (lambda samples: [*samples, samples[0]], {}, r"got others from sample 20 on"),
    "unlabelled": (
        lambda samples: [{"image": sample["image"]} for sample in samples],
        {},
        r"sample with its label, the index of its class, got none; .*add the labels",
    ),
    "one-hot": (
        lambda samples: [s | {"label": torch.tensor([0, 1])} for s in samples],
        {},
        r"index of its class, got labels of shape \(4, 2\)",
    ),
    "outside": (
        lambda samples: [s | {"image": 255 * s["image"]} for s in samples],
        {},
        r"within bounds \(0.0, 1.0\), got values from 0.\d+ to 25\d.\d+; scale the data",
    ),
    "NaN": (
        lambda samples: [s | {"image": s["image"] * math.nan} for s in samples],
        {},
        r"finite",
    ),
}


@pytest.mark.parametrize("case", BAD_DATA)
def test_data_that_do_not_fit_are_refused(tmp_path, problem, evaluate, case):
    change, loader, message = BAD_DATA[case]
    with pytest.raises(ValueError, match=message):
        evaluate(data=change(problem[1]), loader=loader)
    assert not {path.name for path in tmp_path.iterdir()} - {"progress.records"}


@pytest.mark.parametrize("case", ["random transform", "shuffled"])
def test_samples_that_change_from_pass_to_pass_are_refused(
    tmp_path, problem, evaluate, attacked, case
):
    """No order of labels shows it where there is one class only, or a sample is changed in place."""
    samples = problem[1]
    label = samples[-1]["label"]
    samples = [{"image": s["image"], "label": label} for s in samples if s["label"] == label]
    draws = random.Random(0)
    noisy = Lambdad("image", lambda image: image * draws.uniform(0.9, 1))
    data, loader = {
        "random transform": (Dataset(samples, noisy), {}),
        "shuffled": (samples, {"shuffle": True}),
    }[case]
    torch.manual_seed(0)
    message = r"first pass over the data gave, got another image 0; .*transforms, turn shuffling"
    with pytest.raises(ValueError, match=message):
        evaluate(samples=samples, data=data, loader=loader)
    assert attacked.places == []
    assert contents(tmp_path) == {}


def test_what_is_refused_moves_nothing(tmp_path, problem, evaluate, written):
    evaluate()
    (tmp_path / "report.html").write_text("earlier")
    before = contents(tmp_path)
    with pytest.raises(ValueError, match="within the bounds' range, got the level 2 where a noise"):
        evaluate(noise_levels={"linf": [0.1, 2]})
    with pytest.raises(ValueError, match="blackbox"):
        evaluate(model=Rounded(problem[0]), seed=1)
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"noise_levels": [0.1, 0.2]}, r"by norm, like .*, got \[0.1, 0.2\]"),
        ({"noise_levels": {}}, r"noise levels by norm"),
        ({"noise_levels": {"l7": [0.1]}}, r"norm to be one of \['l2', 'linf'\], got 'l7'"),
        ({"noise_levels": {"linf": [0.2, 0.1]}}, r"increasing .*got \[0.2, 0.1\]"),
        ({"noise_levels": {"linf": [math.nan]}}, r"positive and increasing"),
        ({"protocol": "papre"}, r"protocol to be one of .*, got 'papre'"),
        ({"samples": []}, r"samples to evaluate, got none; is the data set empty\?"),
        ({"batch_size": 0}, r"batch_size to be a whole number >= 1, got 0"),
        ({"chunk_size": 0}, r"chunk_size to be a whole number >= 1, got 0"),
        ({"check_samples": -1}, r"check_samples to be a whole number >= 0, got -1"),
        ({"noise_draws": 1.5}, r"noise_draws to be a whole number >= 0, got 1.5"),
        ({"positive_class": "DME"}, r"positive_class for two classes only, got 'DME' for 3"),
        ({"prevalence": 0.1}, r"prevalence for two classes only, got 0.1 for 3"),
        ({"operating_specificity": 1}, r"operating_specificity to be a share between 0 and 1"),
        ({"orientation": "RLS"}, r"three letters, one of R and L, .* got 'RLS'"),
        ({"units": {"name": "mV"}}, r"units to be a name and how many .*, got {'name': 'mV'}"),
        ({"units": {"name": "mV", "per_unit": 0}}, r"'per_unit': 0}; leave them out"),
        ({"auroc_steps": -1}, r"auroc_steps to be a whole number >= 0, got -1"),
    ],
)
def test_settings_that_do_not_fit_are_refused(tmp_path, problem, settings, message):
    arguments = {"noise_levels": {"linf": [0.1]}, "samples": problem[1]} | settings
    with pytest.raises(ValueError, match=message):
        RobustnessEvaluation(**arguments, class_names=CLASSES, output_dir=tmp_path)


def test_probabilities_are_told_from_logits(evaluate, written, caplog):
    evaluate("logits")
    assert written.report["attack"]["outputs"] == "logits"
    centred = outputs(lambda logits: logits - logits.mean(dim=1, keepdim=True) + 1 / 3)
    evaluate("centred", model=centred)  # they sum to 1 as well
    assert written.report["attack"]["outputs"] == "logits"
    assert "PROBABILITIES" not in caplog.text

    evaluate("probabilities", model=outputs(lambda logits: logits.softmax(dim=1)))
    (record,) = [record for record in caplog.records if "PROBABILITIES" in record.message]
    assert record.levelno == logging.WARNING
    assert "Give a network that returns logits" in record.message
    assert written.report["attack"]["outputs"] == "probabilities"


def wavering(logits):
    """A dropout that eval mode does not reach, of which classes tell nothing."""
    return torch.nn.functional.dropout(logits.repeat(1, 9), 0.01, training=True)[:, -3:]


def over_the_batch(logits):
    return logits - 0.01 * logits.mean(dim=0)


@pytest.mark.parametrize(
    ("function", "message"),
    [(wavering, "the model is random"), (over_the_batch, "depend on the rest of the batch")],
)
def test_a_model_that_answers_differently_each_time_is_refused(
    tmp_path, evaluate, function, message
):
    with pytest.raises(ValueError, match=message):
        evaluate(model=outputs(function), chunk_size=20)
    assert contents(tmp_path) == {}


# --- clean accuracy comes first -------------------------------------------------------------------

IN_ORDER = "classes, in the order of the logits: 0: CNV, 1: DME, 2: NORMAL"


@pytest.fixture(scope="module")
def balanced():
    """A model, and ten samples of each class of which it gets all right."""
    model, generator = linear_model((1, 4, 5), classes=3), torch.Generator().manual_seed(1)
    inputs = torch.rand(300, 1, 4, 5, generator=generator)
    with torch.no_grad():
        model[1].bias -= model(inputs).mean(dim=0)
        labels = model(inputs).argmax(dim=1)
    rows = torch.cat([(labels == c).nonzero()[:10, 0] for c in range(3)])
    return model, [
        {"image": inputs[row], "label": int(labels[row]), "id": f"{row}.png"}
        for row in rows.tolist()
    ]


def warnings_of(caplog):
    return [record.message for record in caplog.records if record.levelno == logging.WARNING]


def test_classes_in_another_order_are_said_loudly(tmp_path, balanced, evaluate, caplog):
    """As folders that are sorted in another way than in training: nothing is correct."""
    model, samples = balanced
    samples = [sample | {"label": (sample["label"] + 1) % 3} for sample in samples]
    evaluate(model=model, samples=samples, check_samples=30, noise_draws=1)

    assert IN_ORDER in caplog.messages
    report = report_in(tmp_path)
    assert report["curves"][0]["accuracy"] == [0] * 4
    assert [finding["name"] for finding in report["clean_findings"]] == [
        "nothing_correct",
        "class_order",
    ]
    assert report["clean_findings"][1]["figures"] == {"classes": ["DME", "NORMAL", "CNV"]}
    nothing = (
        "clean accuracy is 0.000: none of 30 samples is correct, and there is nothing to attack"
    )
    order = "in the order 0: DME, 1: NORMAL, 2: CNV, clean accuracy would be 1.000 and not 0.000"
    told = warnings_of(caplog)
    assert f"CLEAN ACCURACY FIRST: {nothing}. Likely causes: " in told[0]
    assert "(values from 0.01 to 0.999 were seen)" in told[0]
    assert order in told[1]
    assert {check["name"] for check in report["checks"] if check["passed"] is not None} == {
        "logits"
    }
    words, page = evaluation_summary(tmp_path), (tmp_path / "report.html").read_text()
    for text in (nothing, order):
        assert text in words
        assert text[1:] in page
    assert "ONLY 1 of 7 checks were run: none failed, 1 passed, 6 not run" in words
    assert "Only 1 of 7 checks was run, and passed" in " ".join(page.split())


class OneClass(nn.Sequential):
    """Always of the last class, as inputs of another range make it."""

    def forward(self, inputs):
        return super().forward(inputs) + torch.tensor([0.0, 0.0, 1e3])


def test_what_speaks_against_the_clean_answers_is_said_before_any_attack(
    balanced, interrupt, attacked, caplog
):
    interrupt(0, model=OneClass(balanced[0]), samples=balanced[1])
    (told,) = warnings_of(caplog)
    assert "every prediction is NORMAL, though 20 of 30 samples are not: a model that" in told
    assert "of no use, whatever its accuracy. Likely" in told
    assert attacked.places == []


def test_of_a_model_that_works_nothing_is_said(balanced, evaluate, written, caplog):
    model, samples = balanced
    passes = []
    model.register_forward_hook(lambda _, given, __: passes.append(len(given[0])))
    with torch.no_grad():
        before = [parameter.clone() for parameter in model.parameters()]
    loader = {"batch_size": 7, "num_workers": 1, "persistent_workers": True}
    evaluate(model=model, samples=samples, loader=loader)
    assert warnings_of(caplog) == []
    assert written.report["clean_findings"] == []
    assert len(written.rows) == 30
    assert passes[:5] == [7, 7, 7, 7, 2]  # each sample once, before the first is attacked
    assert all(map(torch.equal, before, model.parameters()))


@pytest.mark.parametrize("bounds", ["null", (0,), (0, 1, 2), 1, ("0", "1")])
def test_bounds_that_are_no_two_numbers_are_refused(tmp_path, problem, bounds):
    with pytest.raises(ValueError, match="expected bounds to be two numbers, low and high"):
        handler(tmp_path, problem[1], bounds=bounds)


# --- one evaluation at a time ---------------------------------------------------------------------

# Says whether the folder can be locked by another process.
ASK = """
import runpy, sys
lock = runpy.run_path(sys.argv[1])
try:
    lock["lock_folder"](sys.argv[2], "output_dir")
except lock["FolderInUseError"] as error:
    print(error)
else:
    print("free")
"""


def asked_by_another(folder):
    command = [sys.executable, "-c", ASK, folder_lock.__file__, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def answers(monkeypatch):
    """What another process is told of the folder while the samples are attacked."""
    measure = Measure.__call__

    def asked(self, *arguments):
        found.append(asked_by_another(found.folder))
        return measure(self, *arguments)

    class Answers(list):
        folder = None

    found = Answers()
    monkeypatch.setattr(Measure, "__call__", asked)
    return found


def test_others_are_kept_out_of_the_folder_while_it_runs(tmp_path, problem, answers, written):
    answers.folder = tmp_path / "new"
    evaluation = handler(answers.folder, problem[1], chunk_size=100)
    for _ in range(2):
        run(problem[0], problem[1], evaluation)
        assert asked_by_another(answers.folder) == "free"
        assert not (answers.folder / ".lock").exists()
    (said,) = answers
    assert said.startswith(
        f"expected no other command in {answers.folder}, got process {os.getpid()} on "
    )
    assert said.endswith("or choose another folder with output_dir")


@pytest.mark.parametrize("swallowed", [False, True])
@pytest.mark.parametrize("place", ["before", "after", None])
def test_a_folder_is_free_after_an_error_that_goes_where_it_would_have_gone(
    tmp_path, problem, attacked, place, swallowed
):
    attacked.until = 0
    evaluation = handler(tmp_path, problem[1])
    evaluator = SupervisedEvaluator(
        device=CPU, val_data_loader=DataLoader(problem[1], batch_size=4), network=problem[0]
    )
    seen = []

    def hears(_, error):
        seen.append(asked_by_another(tmp_path))
        if not swallowed:
            raise error

    if place == "before":
        evaluator.add_event_handler(Events.EXCEPTION_RAISED, hears)
    evaluation.attach(evaluator)
    if place == "after":
        evaluator.add_event_handler(Events.EXCEPTION_RAISED, hears)
    if place and swallowed:
        evaluator.run()
    else:
        with pytest.raises(Interrupted):
            evaluator.run()
    assert set(seen) == ({"free"} if place else set())
    assert asked_by_another(tmp_path) == "free"


def test_a_folder_that_was_locked_before_stays_locked(
    tmp_path, evaluate, interrupt, attacked, written
):
    claim_folder(tmp_path)
    evaluate()
    assert f"got process {os.getpid()} on" in asked_by_another(tmp_path)
    interrupt(len(attacked.places), chunk_size=7)
    assert f"got process {os.getpid()} on" in asked_by_another(tmp_path)


def test_a_second_evaluation_in_the_folder_is_rejected(tmp_path, evaluate, attacked):
    hold = "lock_folder(sys.argv[2], 'output_dir'); print('locked', flush=True); input()"
    command = f"import runpy, sys; lock_folder = runpy.run_path(sys.argv[1])['lock_folder']; {hold}"
    other = subprocess.Popen(
        [sys.executable, "-c", command, folder_lock.__file__, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert other.stdout.readline() == "locked\n"
    before = contents(tmp_path)
    with pytest.raises(
        FolderInUseError,
        match=rf"in {tmp_path}, got process {other.pid} on .* another folder with output_dir$",
    ):
        evaluate()
    assert contents(tmp_path) == before
    assert attacked.places == []
    other.communicate("go\n")


def test_a_folder_that_cannot_be_written_to_is_told_before_any_attack(tmp_path, evaluate, attacked):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(
        OSError, match=r"expected output_dir to be a folder .*another with output_d"
    ):
        evaluate("file")
    assert attacked.places == []


@pytest.mark.parametrize("name", ["samples.csv", "report.html", "robustness.json"])
def test_on_a_full_disk_the_file_is_named_and_the_next_call_goes_on(
    tmp_path, problem, evaluate, attacked, undrawn, monkeypatch, name
):
    flush = files._flush

    def full(path):
        if name in path.name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        flush(path)

    with monkeypatch.context() as patch:
        patch.setattr(files, "_flush", full)
        with pytest.raises(
            OSError,
            match=rf"to write {tmp_path / name}, got: .*No space left on device; \d+ MB are free .*"
            "with the same command if it is an evaluation$",
        ):
            evaluate()
    assert {path.name for path in tmp_path.iterdir()}.isdisjoint({name, ".lock"})
    assert not list(tmp_path.glob(".*"))
    done = len(attacked.places)
    evaluate()
    assert len(attacked.places) == done
    assert len(rows_in(tmp_path)) == len(problem[1]) == report_in(tmp_path)["curves"][0]["n"]
