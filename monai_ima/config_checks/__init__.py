"""What is wrong with a config, found before anything of it is built."""

from monai_ima.config_checks.arguments import wrong_parts
from monai_ima.config_checks.overrides import check_overrides
from monai_ima.config_checks.walk import needed, waiting_for
from monai_ima.config_checks.whole_config import complaints

__all__ = ["check_overrides", "complaints", "needed", "waiting_for", "wrong_parts"]
