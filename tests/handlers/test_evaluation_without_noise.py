"""What the report says of clean samples, against numbers worked out by hand."""

import math

import pytest
import torch
from monai.metrics import CalibrationErrorMetric

from monai_ima.handlers.evaluation_samples import SampleList
from monai_ima.handlers.evaluation_without_noise import (
    TwoClasses,
    misclassified,
    most_fragile,
    under_attack,
    without_noise,
)

POSITIVE = torch.tensor([0.95, 0.85, 0.85, 0.65, 0.35, 0.15], dtype=torch.float64)
PROBABILITIES = torch.stack([1 - POSITIVE, POSITIVE], dim=1)
LABELS = torch.tensor([1, 1, 0, 1, 0, 0])
NAMES = ("healthy", "sick")


def two(positive_class=None, specificity=0.9, prevalence=None, names=NAMES):
    return TwoClasses.of(
        names,
        positive_class=positive_class,
        operating_specificity=specificity,
        prevalence=prevalence,
    )


def test_two_classes():
    found = without_noise(PROBABILITIES, LABELS, two())
    assert found["confusion"] == [[2, 1], [0, 3]]
    assert found["auroc"] == pytest.approx(7.5 / 9)
    # 0.15: none came true; 0.35: none; 0.65: did; 0.85: one of two; 0.95: did
    error = (0.15 + 0.35 + 0.35 + 2 * 0.35 + 0.05) / 6
    assert found["calibration_error"] == pytest.approx(error, abs=1e-6)
    assert [(part["from"], part["n"], part["came_true"]) for part in found["calibration"]] == [
        (0.1, 1, 0), (0.3, 1, 0), (0.6, 1, 1), (0.8, 2, 0.5), (0.9, 1, 1),
    ]  # fmt: skip
    squares = (0.05**2 + 0.15**2 + 0.85**2 + 0.35**2 + 0.35**2 + 0.15**2) / 6
    assert found["brier"] == pytest.approx(2 * squares)
    assert found["brier_of_shares"] == pytest.approx(0.5)
    as_it_answers, operating = found["two_classes"]["points"]
    assert (as_it_answers["sensitivity"], as_it_answers["specificity"]) == (1, 2 / 3)
    assert as_it_answers["ppv"] == pytest.approx(3 / 4)
    assert as_it_answers["npv"] == pytest.approx(1)
    assert operating["threshold"] == 0.95
    assert (operating["sensitivity"], operating["specificity"]) == (pytest.approx(1 / 3), 1)
    assert operating["npv"] == pytest.approx(3 / 5)
    # Wilson's, of one in three
    assert operating["sensitivity_low"] == pytest.approx(0.0615, abs=1e-4)
    assert operating["sensitivity_high"] == pytest.approx(0.7923, abs=1e-4)


def test_the_positive_class_and_the_prevalence_are_chosen():
    found = without_noise(PROBABILITIES, LABELS, two("healthy", 0.5, 0.1))["two_classes"]
    assert (found["positive"], found["is_named"], found["prevalence"]) == (0, True, 0.1)
    as_it_answers, operating = found["points"]
    assert (as_it_answers["sensitivity"], as_it_answers["specificity"]) == (2 / 3, 1)
    assert as_it_answers["npv"] == pytest.approx(0.9 / (0.9 + 0.1 / 3))
    # two of three sick, and one of three healthy, have less than 0.35 of being healthy
    assert operating["threshold"] == pytest.approx(0.35)
    assert (operating["sensitivity"], operating["specificity"]) == (2 / 3, 2 / 3)


def test_predictive_values_under_attack():
    found = {"positive": 1, "prevalence": 0.1}
    curve = {"per_class": [[1, 0.5], [0.9, 0.0]], "specificity": [[0.9, 0.0], [0.8, 1.0]]}
    values = under_attack(curve, found)
    assert values["ppv"] == [pytest.approx(1 / 3), None]
    assert values["npv"] == [pytest.approx(72 / 73), pytest.approx(0.9)]


def test_of_more_classes_the_certainty_of_the_answer_is_calibrated():
    probabilities = torch.tensor([[0.85, 0.1, 0.05], [0.25, 0.55, 0.2], [0.1, 0.75, 0.15]])
    found = without_noise(probabilities, torch.tensor([0, 2, 1]), None)
    assert found["two_classes"] is None
    assert found["calibration_error"] == pytest.approx((0.15 + 0.55 + 0.25) / 3, abs=1e-6)


def test_one_class_alone_has_no_operating_point():
    found = without_noise(PROBABILITIES[:2], LABELS[:2], two())
    assert found["auroc"] is None
    (point,) = found["two_classes"]["points"]
    assert (point["sensitivity"], point["specificity"], point["ppv"]) == (1, None, None)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"positive_class": "ill"}, "one of the classes healthy and sick, got 'ill'"),
        ({"specificity": 90}, "operating_specificity to be a share between 0 and 1, got 90"),
        ({"prevalence": 0}, "prevalence to be a share between 0 and 1, got 0"),
    ],
)
def test_settings_that_do_not_fit_are_rejected(settings, message):
    with pytest.raises(ValueError, match=message):
        two(**settings)


def listed(patients=(7, 7, 8, 9, 8, 9)):
    items = [
        {"id": f"{i}.png", "patient": patient, "label": int(label)}
        for i, (patient, label) in enumerate(zip(patients, LABELS, strict=True))
    ]
    return SampleList(items, NAMES)


def test_errors_are_listed_and_counted():
    (row,) = misclassified(listed(), PROBABILITIES, LABELS)["shown"]
    assert row == {
        "id": "2.png", "patient": "8", "label": "healthy", "prediction": "sick",
        "probability": 0.85, "probability_of_label": pytest.approx(0.15),
    }  # fmt: skip
    many = misclassified(
        SampleList(listed().samples * 30, NAMES),
        *(t.repeat(30, *[1] * (t.ndim - 1)) for t in (PROBABILITIES, LABELS)),
    )
    assert (many["count"], len(many["shown"])) == (30, 20)


def test_each_patient_is_as_fragile_as_its_closest_sample():
    margins = torch.tensor([0.3, 0.2, 0.0, math.inf, 0.1, math.inf])
    found = most_fragile(listed(), PROBABILITIES, LABELS, margins)
    assert (found["of"], found["count"]) == ("patients", 2)
    rows = [(row["patient"], row["id"], round(row["margin"], 6)) for row in found["shown"]]
    assert rows == [("8", "4.png", 0.1), ("7", "1.png", 0.2)]
    assert [row["samples"] for row in found["shown"]] == [2, 2]
    found = most_fragile(listed([""] * 6), PROBABILITIES, LABELS, margins)
    assert (found["of"], found["count"]) == ("samples", 3)


def test_calibration_is_that_of_monai():
    said = torch.cat([torch.linspace(0, 1, 101), torch.rand(200)])
    came = (torch.rand(301) < said).long()
    metric = CalibrationErrorMetric(num_bins=10)
    metric(y_pred=said[None, None], y=came[None, None])
    found = without_noise(torch.stack([1 - said, said], dim=1), came, two())
    assert found["calibration_error"] == pytest.approx(float(metric.aggregate()), abs=1e-6)


def test_calibration_of_a_million_samples_is_that_of_few():
    """The running sum of so many is rounded, in float32, by more than the error to be measured."""
    said = torch.tensor([0.03, 0.91, 0.97]).repeat(500_000)
    came = torch.tensor([0, 1, 1]).repeat(500_000)
    found = without_noise(torch.stack([1 - said, said], dim=1), came, two())
    assert [part["said"] for part in found["calibration"]] == pytest.approx([0.03, 0.94], abs=1e-5)
    assert found["calibration_error"] == pytest.approx(0.05, abs=1e-5)


def test_the_area_tells_probabilities_apart_that_float32_makes_one():
    """Two sick are more certain than two healthy, all of them taken for sick; one pair is not."""
    logits = torch.tensor([[0.0, 40], [0, 24], [0, 30], [0, 20]])
    probabilities, labels = logits.softmax(dim=1), torch.tensor([1, 1, 0, 0])
    assert (probabilities[:, 1] == 1).all()
    assert without_noise(probabilities, labels, two())["auroc"] == 3 / 4
    third = torch.cat([logits, torch.tensor([[-50.0]] * 4)], dim=1).softmax(dim=1)
    assert without_noise(third, labels, None)["auroc"] == 3 / 4
