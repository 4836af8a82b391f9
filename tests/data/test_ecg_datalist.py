import json
from pathlib import Path

import numpy as np
import pytest
import torch

from monai_ima.data import load_ecg
from monai_ima.data.synthetic_ecg import write_synthetic_ecg


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("ecg") / "beats"
    write_synthetic_ecg(path, patients=10, beats_per_patient=60, seed=0)
    return path


def test_three_sets_are_disjoint_and_complete(folder):
    beats = np.load(folder / "beats.npy")
    datalist = load_ecg(folder)
    parts = (datalist.training, datalist.validation, datalist.test)
    names = [name for part in parts for name in part.ids]
    assert len(names) == len(set(names)) == len(beats)
    together = torch.cat([part.inputs for part in parts])[:, 0].numpy()
    assert np.array_equal(np.sort(together, axis=0), np.sort(beats, axis=0))
    assert datalist.classes == ("N", "S", "V", "F", "Q")
    assert datalist.training.inputs.dtype == torch.float32
    assert "random" in datalist.warning


def test_at_most_so_many_of_each_class(folder):
    whole = load_ecg(folder)
    some = load_ecg(folder, training_per_class=11, evaluation_per_class=4)
    for part, most in (("training", 11), ("validation", 4), ("test", 4)):
        all_of_them = getattr(whole, part).labels.bincount(minlength=5)
        chosen = getattr(some, part)
        assert torch.equal(chosen.labels.bincount(minlength=5), all_of_them.clamp(max=most))
        assert set(chosen.ids) <= set(getattr(whole, part).ids)
    counts = whole.test.labels.bincount(minlength=5)
    assert some.test_shares == whole.test_shares == pytest.approx((counts / counts.sum()).tolist())


def test_seed_chooses_split_and_beats(folder):
    def ids(seed):
        return load_ecg(folder, training_per_class=11, seed=seed).training.ids

    assert ids(1) == ids(1)
    assert ids(1) != ids(2)


def test_kaggle_files_keep_their_test_set(tmp_path):
    rows = np.random.default_rng(0).random((60, 188))
    rows[:, -1] = np.arange(60) % 5
    np.savetxt(tmp_path / "mitbih_train.csv", rows[:40], delimiter=",")
    np.savetxt(tmp_path / "mitbih_test.csv", rows[40:], delimiter=",")
    datalist = load_ecg(tmp_path)
    assert torch.equal(datalist.test.labels, torch.arange(20) % 5)
    np.testing.assert_allclose(datalist.test.inputs[:, 0].numpy(), rows[40:, :-1], rtol=1e-6)
    assert datalist.test.patients is None


def test_folder_without_beats_says_how_to_write_them(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"monai-ima prepare-ecg --records"):
        load_ecg(tmp_path)


@pytest.mark.parametrize("name", ["training_per_class", "evaluation_per_class"])
def test_bad_numbers_are_refused(folder, name):
    with pytest.raises(ValueError, match=f"{name} to be a whole number"):
        load_ecg(folder, **{name: 0})


def without(folder, absent, output):
    """The beats of some classes only."""
    lines = (folder / "beats.csv").read_text().splitlines()
    kept = [n for n, line in enumerate(lines[1:]) if line.split(",")[4] not in absent]
    output.mkdir()
    (output / "beats.csv").write_text("\n".join([lines[0], *(lines[1:][n] for n in kept)]) + "\n")
    np.save(output / "beats.npy", np.load(folder / "beats.npy")[kept])
    (output / "ecg_beats.json").write_text((folder / "ecg_beats.json").read_text())
    return output


def test_absent_classes_are_refused(folder, tmp_path):
    some = without(folder, "SVF", tmp_path / "some")

    with pytest.raises(
        ValueError, match=r"every class in the training set of .*, got none of S, V, F"
    ):
        load_ecg(some)


@pytest.mark.parametrize("number", [4, 50])
def test_another_number_of_classes_is_refused(folder, number):
    with pytest.raises(
        ValueError, match=rf"num_classes = {number} classes in .*, got 5: N, S, V, F"
    ):
        load_ecg(folder, num_classes=number)


def test_the_bundle_hands_the_number_of_classes_on():
    for path in (Path(__file__).parents[2] / "bundles").glob("*_ima/train.json"):
        assert json.loads(path.read_text())["datalist"]["num_classes"] == "@num_classes", path
