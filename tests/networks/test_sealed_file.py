"""What a sealed file says of itself, and what of that a flipped bit leaves."""

import zipfile

import pytest
import torch

from monai_ima.networks.checkpoint_file import is_intact
from monai_ima.networks.sealed_file import is_as_sealed, save_sealed, writing_run

RUN = "0123456789abcdef" * 4


@pytest.mark.parametrize("run", [None, RUN])
def test_it_says_which_run_has_written_it_and_torch_reads_it_as_before(tmp_path, run):
    path = tmp_path / "model.pt"
    save_sealed({"weight": torch.arange(3)}, path, run)
    assert writing_run(path) == run
    assert is_as_sealed(path) is True
    assert torch.equal(torch.load(path, weights_only=True)["weight"], torch.arange(3))


def test_a_file_of_torch_or_another_kind_says_nothing(tmp_path):
    path = tmp_path / "model.pt"
    torch.save({}, path)
    assert writing_run(path) is None
    path.write_text("none")
    assert writing_run(path) is None


@pytest.mark.parametrize("run", [None, RUN])
def test_no_bit_of_the_seal_can_be_flipped_unnoticed(tmp_path, run):
    path = tmp_path / "model.pt"
    save_sealed({}, path, run)
    content = path.read_bytes()
    for place in range(content.rindex(b"PK\x05\x06"), len(content)):
        for bit in range(8):
            flipped = content[place] ^ 1 << bit
            path.write_bytes(content[:place] + bytes([flipped]) + content[place + 1 :])
            assert not (is_intact(path) and zipfile.is_zipfile(path))
