"""Of several processes one reads the samples to know what they are, and all know that it is one run."""

import json
import subprocess
import sys
from pathlib import Path


def test_the_first_process_reads_and_all_know(tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    for index in range(5):
        (images / f"{index}.png").write_bytes(bytes([index]))

    script = Path(__file__).with_name("records.py")
    subprocess.run([sys.executable, "-W", "ignore", script, images], check=True, timeout=120)

    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2))
    assert (first.pop("reads"), second.pop("reads")) == (5, 0)
    assert "missing" in first["error"]
    assert first == second
    assert first["identity"]["content of the data"].keys() == {"training", "validation", "test"}
