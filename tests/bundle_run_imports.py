"""What every command imports; see ``bundle_run``."""

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import monai.bundle
    import torch._dynamo  # which optimizers import

    import monai_ima.bundle
    import monai_ima.cli.evaluate
    import monai_ima.evaluate_run

    monai.bundle.ComponentLocator().get_component_module_name("")  # imports all of MONAI

warnings.simplefilter("ignore")
