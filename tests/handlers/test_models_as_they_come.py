"""Whole evaluations of models that return, take or hold something else than float32 logits."""

import json
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import torch
from ignite.metrics import Accuracy
from linear import linear_model
from models import FORMS, AtMost, InPlace, Returning
from monai.data import DataLoader
from monai.engines import SupervisedEvaluator
from monai.handlers import from_engine
from monai.inferers import SimpleInferer
from monai.networks.nets import ViT
from torch import nn
from torch.utils.tensorboard import SummaryWriter

import monai_ima.robustness.checks as checks_module
from monai_ima.engines import LogitsInferer
from monai_ima.handlers import (
    RobustnessCurveHandler,
    RobustnessEvaluation,
    RobustnessReport,
    evaluation,
)
from monai_ima.robustness import BlackBox, MinimumNorm, Paper, Screen, Strong

SHAPE = (1, 4, 5)
WHOLE = {"check_samples": 2, "noise_draws": 1, "auroc_steps": 2}
PROTOCOLS = [
    Paper(steps=4),
    MinimumNorm(steps=4),
    Screen(steps=4),
    Strong(steps=4),
    BlackBox(steps=4),
]
protocols = pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda protocol: protocol.name)


@pytest.fixture(autouse=True)
def _few_samples_are_enough(monkeypatch):
    monkeypatch.setattr(checks_module, "_NEEDED", 1)


@pytest.fixture
def written(monkeypatch):
    """What would be written, in place of the files: drawing them takes seconds."""
    found = SimpleNamespace()

    def keep(folder, report, **rest):
        rest["rows"] = list(rest["rows"])
        vars(found).update(rest, report=json.loads(json.dumps(report, allow_nan=False)))

    monkeypatch.setattr(evaluation, "write_evaluation", keep)
    return found


@torch.no_grad()
def samples_of(model, shape=SHAPE, n=11, dtype=torch.int64):
    """Samples of which a plain model gets all but the first two right."""
    images = torch.rand(n, *shape, generator=torch.Generator().manual_seed(0))
    logits = model(images)
    labels = logits.argmax(dim=1)
    labels[:2] = (labels[:2] + 1) % logits.shape[1]
    return [
        {"image": image, "label": label, "id": str(place)}
        for place, (image, label) in enumerate(zip(images, labels.to(dtype), strict=True))
    ]


def run(model, samples, folder, *, classes=3, batch_size=4, inferer=None, **settings):
    """Accuracy by MONAI's own means, after an evaluation with every part that calls the model."""
    whole = RobustnessEvaluation(
        noise_levels={"linf": [0.02, 0.1]},
        samples=samples,
        class_names=["a", "b", "c", "d"][:classes],
        output_dir=folder,
        batch_size=batch_size,
        **{"protocol": Screen(steps=10), "chunk_size": 8, **WHOLE} | settings,
    )
    accuracy = {"accuracy": Accuracy(output_transform=from_engine(["pred", "label"]))}
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(samples, batch_size=batch_size),
        network=model,
        inferer=inferer or LogitsInferer(),
        key_val_metric=accuracy if inferer is None else None,
        val_handlers=[whole],
    )
    evaluator.run()
    return evaluator.state.metrics.get("accuracy")


def rows_and_numbers(written):
    """All that an evaluation says of a model."""
    return written.rows, {**written.report, "settings": None, "network": None}


# Outputs


@pytest.mark.parametrize("inferer", [None, SimpleInferer()], ids=["ours", "MONAI's"])
def test_a_vision_transformer_of_monai(tmp_path, written, inferer):
    """It returns a tuple."""
    pytest.importorskip("einops", reason="MONAI's ViT needs it")
    vit = ViT(
        in_channels=1, img_size=(8, 8), patch_size=(4, 4), hidden_size=8, mlp_dim=8, num_layers=1,
        num_heads=1, classification=True, num_classes=3, spatial_dims=2,
    ).eval()  # fmt: skip
    nn.init.normal_(vit.classification_head[0].weight)
    plain = Returning(vit, lambda outputs: outputs[0])
    samples = samples_of(plain, (1, 8, 8), n=5)

    checks = {"check_samples": 1 if inferer is None else 0}
    accuracy = run(vit, samples, tmp_path / "vit", inferer=inferer, **checks)
    found = rows_and_numbers(written)
    assert accuracy in (3 / 5, None)
    (curve,) = written.report["curves"]
    assert curve["accuracy"][0] == pytest.approx(3 / 5)
    assert 0 < curve["gradients"] < curve["forwards"]
    if inferer is not None:
        run(plain, samples, tmp_path / "plain", **checks)
        assert found == rows_and_numbers(written)


@pytest.mark.parametrize("form", FORMS)
def test_every_form(tmp_path, written, form):
    returned, meant = FORMS[form]
    network = linear_model(SHAPE, classes=3)
    plain = Returning(network, meant)
    samples, classes = samples_of(plain), meant(torch.zeros(1, 3)).shape[1]
    settings = {"classes": classes, "check_samples": 0}
    accuracy = run(Returning(network, returned), samples, tmp_path / "form", **settings)
    found = rows_and_numbers(written)
    assert accuracy == run(plain, samples, tmp_path / "plain", **settings) == 9 / 11
    assert found == rows_and_numbers(written)


def sigmoid_of_second(logits):
    return logits[:, 1:2].sigmoid()


def test_the_probability_of_a_class_is_no_logit(tmp_path, written):
    """At any value it would be taken for that class."""
    network = linear_model(SHAPE, classes=3)
    samples = samples_of(Returning(network, FORMS["one logit"][1]))
    for folder, settings in (("at_once", {}), ("one_by_one", {"batch_size": 1, "chunk_size": 5})):
        with pytest.raises(ValueError, match=r"to be a logit.*from 0.\d+ to 0.\d+ .* sigmoid"):
            run(
                Returning(network, sigmoid_of_second),
                samples,
                tmp_path / folder,
                classes=2,
                **settings,
            )
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_single_logit_is_for_two_classes(tmp_path):
    model = Returning(linear_model(SHAPE, classes=3), FORMS["one number"][0])
    samples = samples_of(linear_model(SHAPE, classes=2))
    with pytest.raises(ValueError, match=r"classes a, b, c, got one logit for two; correct"):
        run(model, samples, tmp_path, classes=3)


@pytest.mark.parametrize(
    ("logit", "message"),
    [
        (-torch.inf, "got -inf for class 3 in every sample, as a mask puts it"),
        (-1e4, r"got -10000 for class d .* mask it by a logit no lower than -\d"),
        (-4.0, None),
    ],
)
def test_a_masked_class_is_refused_where_it_would_weaken_attacks(tmp_path, written, logit, message):
    network = linear_model(SHAPE, classes=3)
    masked = Returning(network, lambda z: nn.functional.pad(z, (0, 1), value=logit))
    settings = {"classes": 4, "check_samples": 0}
    if message is None:
        assert run(masked, samples_of(network), tmp_path, **settings) == 9 / 11
        return
    with pytest.raises(ValueError, match=message):
        run(masked, samples_of(network), tmp_path, **settings)
    assert not list(tmp_path.iterdir())


# Precision, inputs, labels


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16], ids=str)
def test_other_precisions(tmp_path, written, dtype):
    model = linear_model(SHAPE, classes=3)
    samples = samples_of(model)
    accuracy = run(model.to(dtype), samples, tmp_path, check_samples=0)
    assert accuracy == pytest.approx(written.report["curves"][0]["accuracy"][0]) == 9 / 11


def test_probabilities_are_known_in_any_precision(tmp_path, written):
    network = linear_model(SHAPE, classes=3)
    samples = samples_of(network)
    model = Returning(network, lambda logits: logits.softmax(dim=1)).to(torch.bfloat16)
    run(model, samples, tmp_path, check_samples=0)
    assert written.report["attack"]["outputs"] == "probabilities"


def test_inputs_that_the_model_changes_are_evaluated_as_they_are(tmp_path, written):
    network = linear_model(SHAPE, classes=3)
    samples = samples_of(lambda images: network(images - 0.5))
    before = [sample["image"].clone() for sample in samples]
    assert run(InPlace(network), samples, tmp_path) == 9 / 11
    assert all(torch.equal(s["image"], image) for s, image in zip(samples, before, strict=True))
    assert written.report["curves"][0]["accuracy"][0] == pytest.approx(9 / 11)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16], ids=str)
def test_labels_of_any_width_in_a_column(tmp_path, written, dtype):
    model = linear_model(SHAPE, classes=3)
    samples = samples_of(model, dtype=dtype)
    run(model, samples_of(model), tmp_path / "plain", check_samples=0)
    expected = rows_and_numbers(written)
    columns = [sample | {"label": sample["label"][None]} for sample in samples]
    for folder, given in (("row", samples), ("column", columns)):
        run(model, given, tmp_path / folder, inferer=LogitsInferer(), check_samples=0)
        assert rows_and_numbers(written) == expected


# Batches


@protocols
@pytest.mark.parametrize("most", [1, 3])
def test_no_call_sees_more_than_batch_size(tmp_path, written, protocol, most):
    network = linear_model(SHAPE, classes=3)
    samples = samples_of(network, n=7)
    limited = AtMost(network, most)
    settings = {"batch_size": most, "protocol": protocol, "check_samples": 1}
    run(limited, samples, tmp_path, **settings)
    first = rows_and_numbers(written)
    run(limited, samples, tmp_path, **settings)  # goes on where nothing is left but the examples
    assert rows_and_numbers(written) == first
    assert len(written.examples["linf"]) == 5
    assert not (tmp_path / "previous-1").exists()


def test_the_curve_in_training_and_its_report(tmp_path):
    """A tuple, labels in a column of bytes, and never more samples than a batch has."""
    network = linear_model(SHAPE, classes=3)
    samples = samples_of(network, n=7, dtype=torch.uint8)
    assert len({int(sample["label"]) for sample in samples}) == 3
    columns = [sample | {"label": sample["label"][None]} for sample in samples]
    writer = Mock(spec=SummaryWriter)
    for most, model in (
        (1, AtMost(network, 1)),
        (2, Returning(AtMost(network, 2), lambda z: (z, z))),
    ):
        curve = RobustnessCurveHandler([0.02, 0.1], "linf", steps=3)
        report = RobustnessReport(
            curve, tmp_path, class_names="abc", settings={}, summary_writer=writer
        )
        SupervisedEvaluator(
            device=torch.device("cpu"),
            val_data_loader=DataLoader(columns, batch_size=most),
            network=model,
            val_handlers=[curve, report],
        ).run()
        assert curve.curve.accuracy[0] == pytest.approx(5 / 7)
        assert curve.curve.labels.tolist() == [int(sample["label"]) for sample in samples]
    shown = [call.args[0] for call in writer.add_image.call_args_list]
    assert shown == 2 * ["robustness/curve", "robustness/examples"]
