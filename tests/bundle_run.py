"""Commands, as a user types them."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def run_bundle(*configs, **settings):
    """Run the configs with these settings on one thread; the ended process with its output."""
    files = str([str(config) for config in configs]) if len(configs) > 1 else str(configs[0])
    flags = [text for name, value in settings.items() for text in (f"--{name}", str(value))]
    return _run("monai.bundle", "run", "--config_file", files, *flags)


def run_command(*words):
    """Run ``monai-ima`` with these words on one thread; the ended process with its output."""
    return _run("monai_ima", *map(str, words))


def _run(module, *words):
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-m", module, *words],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=False,
    )
