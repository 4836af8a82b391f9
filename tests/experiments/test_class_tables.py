import torch

from monai_ima.experiments.class_tables import (
    plain_accuracy,
    positive_predictive_value,
    sensitivity,
)


def run(labels, margins, broken_as, shares):
    return {
        "classes": ["a", "b"],
        "labels": labels,
        "margins": margins,
        "broken_as": broken_as,
        "curve": {"eps": [0, 0.1, 0.2]},
        "settings": {"test_shares": shares},
    }


def test_clinical_figures_by_hand():
    example = run([0, 0, 1, 1], [None, 0.15, 0, 0.1], [None, 1, 0, 0], [0.75, 0.25])
    torch.testing.assert_close(
        sensitivity(example),
        torch.tensor([[1, 1, 0.5], [0.5, 0, 0]], dtype=torch.float64),
    )
    # at 0: of 0.75 + 0.125 called a, 0.75 are; at 0.2: of 0.375 + 0.25
    torch.testing.assert_close(
        positive_predictive_value(example),
        torch.tensor([[0.75 / 0.875, 0.75, 0.375 / 0.625], [1, torch.nan, 0]], dtype=torch.float64),
        equal_nan=True,
    )
    torch.testing.assert_close(
        plain_accuracy(example), torch.tensor([0.875, 0.75, 0.375], dtype=torch.float64)
    )
