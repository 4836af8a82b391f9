"""A bundle's command, as a user types it."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def run_bundle(*configs, **settings):
    """Run the configs with these settings on one thread; the ended process with its output."""
    files = str([str(config) for config in configs]) if len(configs) > 1 else str(configs[0])
    flags = [text for name, value in settings.items() for text in (f"--{name}", str(value))]
    return subprocess.run(
        [
            sys.executable,
            "-W",
            "ignore",
            "-m",
            "monai.bundle",
            "run",
            "--config_file",
            files,
            *flags,
        ],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=False,
    )
