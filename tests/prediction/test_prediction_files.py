"""Predictions as tables."""

import json

import pytest
import torch

from monai_ima.prediction import ChangedAnswer, Prediction, ReferenceMargins, write_predictions
from monai_ima.robustness import get_protocol


@pytest.mark.parametrize("margin", [1e-6, 0.00123456, 0.5])
def test_a_small_margin_is_not_0_in_units_of_the_data(tmp_path, margin):
    shape, after = (1, 512, 512), torch.tensor([0.4, 0.6])
    changed = ChangedAnswer(margin, 50.0, torch.zeros(shape, device="meta"), after)
    case = Prediction("a.png", torch.zeros(shape, device="meta"), 1 - after, {"l2": changed})
    reference = ReferenceMargins(
        {"l2": torch.ones(3)}, get_protocol("screen"), (0.0, 1.0), "3 samples"
    )
    write_predictions(
        tmp_path,
        [case],
        class_names=["healthy", "ill"],
        reference=reference,
        norms=["l2"],
        units={"name": "grey levels of 255", "per_unit": 255.0},
    )
    (said,) = json.loads((tmp_path / "predictions.json").read_text())["cases"]
    assert said["grey_levels_l2"] == pytest.approx(255 * margin / 512, rel=1e-5)
