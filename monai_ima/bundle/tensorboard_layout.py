"""How TensorBoard lays out what a training logs."""

from __future__ import annotations

from torch.utils.tensorboard import SummaryWriter


def add_layout(summary_writer: SummaryWriter) -> None:
    """Lay out TensorBoard's custom scalars: all noise levels in one chart, margins as a band."""
    summary_writer.add_custom_scalars(
        {
            "Robustness": {
                "accuracy at each noise level": ["Multiline", [r"^robust_accuracy/eps_.*"]],
                "area under the curve": ["Multiline", [r"^robust_accuracy/auc"]],
            },
            "Sensitivity": {
                "of each class on the validation set, without noise": [
                    "Multiline",
                    [r"^val_sensitivity/.*/eps_0$"],
                ],
                "of each class on the test set, without noise": [
                    "Multiline",
                    [r"^sensitivity/.*/eps_0$"],
                ],
                "of each class on the test set, at each noise level": [
                    "Multiline",
                    [r"^sensitivity/.*"],
                ],
            },
            "Margins": {
                "margins of the training samples: 5 %, mean, 95 %": [
                    "Margin",
                    ["margin/mean", "margin/q05", "margin/q95"],
                ],
                "shares of the training samples: crossed within their margin; at eps_max": [
                    "Multiline",
                    [r"^margin/.*_fraction"],
                ],
            },
            "Losses": {"terms": ["Multiline", [r"^train_loss.*"]]},
        }
    )
