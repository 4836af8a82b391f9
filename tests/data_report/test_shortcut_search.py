"""A property that tells a class is found, chance is not, and few patients are no proof."""

import numpy as np
import pytest

from monai_ima.data_report import shortcuts


def cohort(patients=30, images=2, classes=3):
    labels = [patient % classes for patient in range(patients) for _ in range(images)]
    names = [str(patient) for patient in range(patients) for _ in range(images)]
    return labels, names


def test_a_value_that_one_class_alone_has_tells_it():
    labels, patients = cohort()
    features = {
        "depth": ["16 bits" if label == 1 else "8 bits" for label in labels],
        "same": ["PNG"] * len(labels),
    }

    (found,) = shortcuts(features, labels, patients)

    assert found[:4] == ("depth", 1, 1.0, 1.0)
    assert found.accuracy == 1
    assert found.p == pytest.approx(0.001)


def test_sensitivity_and_specificity_are_shares_of_images():
    """Wide are 4 of 5 images of class 0 and 1 of 5 of the others, of 20 patients each."""
    labels = [0] * 20 + [1] * 20
    width = [768] * 16 + [512] * 4 + [768] * 4 + [512] * 16

    (found,) = shortcuts({"width": width}, labels, list(map(str, range(40))))

    assert (found.sensitivity, found.specificity) == (0.8, 0.8)


def test_numbers_of_many_values_tell_by_where_they_lie():
    labels, patients = cohort(60, 1, 2)
    rng = np.random.default_rng(0)
    border = [float(rng.random() + 2 * label) for label in labels]

    (found,) = shortcuts({"border": border, "noise": list(rng.random(60))}, labels, patients)

    assert found.feature == "border"
    assert found.accuracy > 0.9


@pytest.mark.parametrize("seed", range(5))
def test_chance_is_no_shortcut(seed):
    labels, patients = cohort(40, 3)
    rng = np.random.default_rng(seed)
    features = {
        f"of images {n}": list(rng.integers(0, 9, len(labels)).astype(float)) for n in range(4)
    }
    of_patient = rng.random(40)  # three images are not three patients
    features["of patients"] = [float(of_patient[int(patient)]) for patient in patients]

    assert shortcuts(features, labels, patients) == []


def test_few_patients_are_no_proof_however_many_images():
    labels, patients = cohort(4, 50, 2)

    assert shortcuts({"depth": [str(label) for label in labels]}, labels, patients) == []


def test_one_class_or_none_is_told_by_nothing():
    assert shortcuts({"depth": ["8", "16"]}, [0, 0], ["a", "b"]) == []
    assert shortcuts({"depth": []}, [], []) == []


def test_what_is_known_of_a_patient_does_not_help_with_the_others():
    """Half of class 1 share a value; all else is one patient's own, in both of its images."""
    labels, patients = cohort(40, 2, 2)
    code = [
        "shared" if label == 1 and int(patient) % 4 == 1 else patient
        for label, patient in zip(labels, patients, strict=True)
    ]

    (found,) = shortcuts({"device": code}, labels, patients)

    assert found[1:4] == (1, 0.5, 1.0)
