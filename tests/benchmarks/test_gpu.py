"""The small form of the benchmark: every figure is made, printed and kept, on any machine."""

import json
import math
import sys

import gpu
import measuring
import torch


def test_every_figure_is_printed_and_kept(tmp_path, monkeypatch, capsys):
    for name in gpu.PAPER:
        monkeypatch.setitem(gpu.PAPER, name, 2)
    monkeypatch.setattr(gpu, "LEVELS", (0.0, 0.1))
    monkeypatch.setattr(measuring, "RESULTS", tmp_path)
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--small"])

    gpu.main()

    report = json.loads((tmp_path / "gpu_small.json").read_text())
    passes = {"ECGNet": 70_043, "FashionMNISTNet": 60_000, "resnet18_in": 585}
    expected = [
        (network, 4, what, unit)
        for network, samples in passes.items()
        for what, unit in [
            ("floor of pgd", "ms"),
            ("floor of bpgd", "ms"),
            ("eager pgd", "floors"),
            ("pgd, none cross", "floors"),
            ("pgd, half cross", "floors"),
            ("bpgd, none cross", "floors"),
            ("bpgd, half cross", "floors"),
            *([("pgd of torchattacks", "floors")] if gpu.torchattacks else []),
            ("step of cross-entropy", "ms"),
            ("step of IMA", "ms"),
            (f"pass over {samples} margins", "s"),
        ]
    ]
    expected += [
        (None, None, "evaluation of 10 images at 2 levels", "s"),
        (None, None, "largest difference of 5 images' curve in TF32 to a CPU's", "of 1"),
        (None, None, "largest difference of 5 images' curve in float32 to a CPU's", "of 1"),
    ]
    rows = report["rows"]
    kept = [(row.get("network"), row.get("batch"), row["what"], row["unit"]) for row in rows]
    assert kept == expected
    assert capsys.readouterr().out.splitlines() == [
        " ".join(
            [
                *(str(row[name]) for name in ("network", "batch") if name in row),
                f"{row['what']}: {row['value']:.4g} {row['unit']}",
            ]
        )
        for row in rows
    ]
    assert report["settings"]["small"] is True

    *times, in_tf32, in_float32 = [row["value"] for row in rows]
    assert all(math.isfinite(time) and time > 0 for time in times)
    if report["settings"]["device"] == "cpu":
        assert in_tf32 == in_float32 == 0


def test_half_of_the_samples_cross_and_none_do():
    network = gpu.FashionMNISTNet().eval()
    case = gpu.prepared(network, torch.rand(6, 1, 28, 28))
    for radius, crossed in ((case.none, 0), (case.half, 3)):
        found = gpu.bpgd(network, case.inputs, case.labels, eps=radius, norm="linf", steps=20)
        assert found.success.sum() == crossed
