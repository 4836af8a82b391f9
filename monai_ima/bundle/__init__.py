"""What a bundle's config asks for before and after a run, so that no Python is in a bundle."""

from monai_ima.bundle.checks import build, check_network, check_settings, check_single_process
from monai_ima.bundle.config_values import flag, flag_or_auto, given
from monai_ima.bundle.evaluation_levels import linf_levels
from monai_ima.bundle.last_words import say_errors_last
from monai_ima.bundle.parts import part_in_words
from monai_ima.bundle.precision import allow_tf32
from monai_ima.bundle.run_folder import (
    begin_run,
    claim_folder,
    first_epoch,
    is_restarted,
    open_folder,
    prepare_output_dir,
)
from monai_ima.bundle.summaries import evaluation_summary, summary
from monai_ima.bundle.tensorboard_layout import add_layout

__all__ = [
    "add_layout",
    "allow_tf32",
    "begin_run",
    "build",
    "check_network",
    "check_settings",
    "check_single_process",
    "claim_folder",
    "evaluation_summary",
    "first_epoch",
    "flag",
    "flag_or_auto",
    "given",
    "is_restarted",
    "linf_levels",
    "open_folder",
    "part_in_words",
    "prepare_output_dir",
    "say_errors_last",
    "summary",
]
