"""What every command imports; see ``bundle_run``."""

import importlib
import warnings

warnings.simplefilter("ignore")
for _module in (
    *("torch._dynamo", "monai.bundle", "monai_ima.bundle", "monai_ima.cli.evaluate"),
    *("monai_ima.engines", "monai_ima.evaluate_run", "monai_ima.handlers"),
):
    importlib.import_module(_module)
# all of MONAI
importlib.import_module("monai.bundle").ComponentLocator().get_component_module_name("")
