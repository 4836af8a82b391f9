"""``python -m monai_ima`` is the command ``monai-ima``."""

from monai_ima.cli.main import main

main()
