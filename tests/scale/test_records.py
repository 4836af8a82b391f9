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

    (images / "long.png").write_bytes(bytes(2))

    script = Path(__file__).with_name("records.py")
    subprocess.run([sys.executable, "-W", "ignore", script, images], check=True, timeout=120)

    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2))
    assert (first.pop("reads"), second.pop("reads")) == (5, 0)
    assert "missing" in first["error"]
    assert first == second
    assert first["refused"].keys() == {"names", "labels", "number", "sizes"}
    for name, said in first["refused"].items():
        counts = (
            "of test (2 samples) than in process 0 (1)"
            if name == "number"
            else "of test (1 samples)"
        )
        assert counts in said
    assert first["identity"]["content of the data"].keys() == {"training", "validation", "test"}
