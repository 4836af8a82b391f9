"""The synthetic B-scans: reproducible to the byte, written whole or not at all, and telling."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from folders import contents
from PIL import Image
from skimage.filters import gaussian
from skimage.segmentation import clear_border

from monai_ima.data.synthetic_oct import CLASSES, synthetic_bscan, write_synthetic_oct

BScan = npt.NDArray[np.uint8]
SIZE = (48, 64)  # small where only the files matter


@pytest.fixture(scope="module")
def bscans() -> dict[str, list[BScan]]:
    """Sixteen patients of each class at the native size."""
    return {
        label: [synthetic_bscan(label, np.random.default_rng([7, k, i])) for i in range(16)]
        for k, label in enumerate(CLASSES)
    }


def rpe_roughness(image: BScan) -> float:
    """Deviation, in pixels, of the brightest row from a parabola along the central square."""
    centre = (image.shape[1] - image.shape[0]) // 2
    row = gaussian(image[:, centre:-centre].astype(float), 1).argmax(axis=0)
    column = np.linspace(-1, 1, len(row))
    return float(np.std(row - np.polyval(np.polyfit(column, row, 2), column)))


def enclosed_dark_area(image: BScan) -> int:
    """Count the pixels as dark as the vitreous that tissue surrounds on all sides."""
    smooth = gaussian(image.astype(float), 1)
    vitreous = np.median(smooth[:10])
    tissue = np.quantile(smooth, 0.97)
    lower = image.shape[0] // 2
    rpe = int(np.median(smooth[lower // 2 :].argmax(axis=0))) + lower // 2
    dark = smooth[: rpe + 1] < vitreous + 0.2 * (tissue - vitreous)
    return int(clear_border(dark).sum())


def foveal_dip(image: BScan) -> float:
    """Return how far, in pixels, the retina's surface sinks from the para-fovea to the fovea."""
    smooth = gaussian(image.astype(float), 1.5)
    level = (np.median(smooth[:10]) + np.quantile(smooth, 0.9)) / 2
    surface = (smooth > level).argmax(axis=0)
    middle = image.shape[1] // 2
    fovea = surface[middle - 20 : middle + 20].max()
    return float(fovea - (surface[middle - 45] + surface[middle + 45]) / 2)


@pytest.mark.parametrize("label", CLASSES)
def test_an_image_is_a_function_of_its_generator(label: str) -> None:
    first, again, other = (
        synthetic_bscan(label, np.random.default_rng(seed), size=(40, 56)) for seed in (3, 3, 4)
    )
    assert first.shape == (40, 56)
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_grey_values_use_the_range_without_saturating(bscans: dict[str, list[BScan]]) -> None:
    for image in (image for images in bscans.values() for image in images):
        assert image.max() > 150
        assert (image == 255).mean() < 0.02
        assert np.median(image[:10]) < 60  # vitreous above the retina


def test_files_have_kermanys_form(tmp_path: Path) -> None:
    root = write_synthetic_oct(
        tmp_path / "new" / "oct", patients_per_class=3, images_per_patient=2, size=SIZE
    )
    assert root == tmp_path / "new" / "oct"
    assert {p.name for p in root.iterdir()} == {*CLASSES, "synthetic_oct.json"}
    owners: dict[str, set[str]] = {}
    for label in CLASSES:
        names = [p.stem.split("-") for p in (root / label).glob("*.png")]
        assert {name[0] for name in names} == {label}
        assert sorted(name[2] for name in names) == ["1"] * 3 + ["2"] * 3
        for _, patient, _ in names:
            owners.setdefault(patient, set()).add(label)
    assert len(owners) == 3 * len(CLASSES)  # no patient number is used in two classes
    with Image.open(root / "DME" / "DME-2-1.png") as image:
        assert (image.mode, image.size) == ("L", SIZE[::-1])


def test_same_seed_same_bytes_other_seed_other_images(tmp_path: Path) -> None:
    first, again, other = (
        contents(write_synthetic_oct(tmp_path / name, patients_per_class=2, seed=seed, size=SIZE))
        for name, seed in (("a", 11), ("b", 11), ("c", 12))
    )
    assert first == again
    assert first.keys() == other.keys()
    assert all(first[name] != other[name] for name in first)


def test_an_image_does_not_depend_on_how_many_are_written(tmp_path: Path) -> None:
    few = contents(
        write_synthetic_oct(tmp_path / "few", patients_per_class=1, images_per_patient=1, size=SIZE)
    )
    many = contents(
        write_synthetic_oct(
            tmp_path / "many", patients_per_class=3, images_per_patient=2, size=SIZE
        )
    )
    del few["synthetic_oct.json"]
    assert len(few) == len(CLASSES)
    assert few.items() <= many.items()
    assert len(set(many.values())) == len(many)


def test_slices_of_a_patient_resemble_each_other(tmp_path: Path) -> None:
    root = write_synthetic_oct(tmp_path / "oct", patients_per_class=4)
    one, two = (
        np.stack(
            [gaussian(np.asarray(Image.open(p), float), 2) for p in sorted(root.glob(pattern))]
        )
        for pattern in ("*/*-1.png", "*/*-2.png")
    )
    same_patient = np.abs(one - two).mean()
    other_patient = np.abs(one - np.roll(two, 1, axis=0)).mean()
    assert same_patient < 0.5 * other_patient


def test_the_same_settings_reuse_the_folder_untouched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_synthetic_oct(tmp_path / "oct", patients_per_class=1, size=SIZE)
    marked = root / "CNV" / "CNV-1-1.png"
    marked.write_bytes(b"a user's own")
    monkeypatch.delattr(Image.Image, "save")  # nothing is drawn a second time
    assert write_synthetic_oct(root, patients_per_class=1, size=SIZE) == root
    assert marked.read_bytes() == b"a user's own"


def test_an_interrupted_write_leaves_nothing_and_can_be_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = Image.Image.save
    saved: list[Path] = []

    def save_three(image: Image.Image, path: Path) -> None:
        if len(saved) == 3:
            raise KeyboardInterrupt
        saved.append(path)
        save(image, path)

    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "save", save_three)
        with pytest.raises(KeyboardInterrupt):
            write_synthetic_oct(tmp_path / "oct", patients_per_class=1, size=SIZE)
    assert len(saved) == 3
    assert list(tmp_path.iterdir()) == []
    write_synthetic_oct(tmp_path / "oct", patients_per_class=1, size=SIZE)
    assert [p.name for p in tmp_path.iterdir()] == ["oct"]


def test_of_two_writers_at_once_the_first_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.rename

    def overtaken(draft: Path, root: Path) -> Path:
        shutil.copytree(draft, root)
        return rename(draft, root)

    monkeypatch.setattr(Path, "rename", overtaken)
    root = write_synthetic_oct(tmp_path / "oct", patients_per_class=1, size=SIZE)
    assert [p.name for p in tmp_path.iterdir()] == ["oct"]
    assert len(list(root.glob("*/*.png"))) == 2 * len(CLASSES)


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    write_synthetic_oct(tmp_path, patients_per_class=1, size=SIZE)
    assert (tmp_path / "NORMAL").is_dir()


def test_other_settings_are_refused_and_kept(tmp_path: Path) -> None:
    root = write_synthetic_oct(tmp_path / "oct", patients_per_class=1, seed=5, size=SIZE)
    before = contents(root)
    with pytest.raises(ValueError, match=r'expected .*"seed": 6.* got .*"seed": 5.*choose another'):
        write_synthetic_oct(root, patients_per_class=1, seed=6, size=SIZE)
    record = root / "synthetic_oct.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "version": 0}))
    with pytest.raises(ValueError, match=r'got .*"version": 0'):
        write_synthetic_oct(root, patients_per_class=1, seed=5, size=SIZE)
    record.write_text("not json")
    with pytest.raises(ValueError, match="got not json"):
        write_synthetic_oct(root, patients_per_class=1, seed=5, size=SIZE)
    before["synthetic_oct.json"] = b"not json"
    assert contents(root) == before


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_a_users_files_are_refused_and_kept(tmp_path: Path, kind: str) -> None:
    root = tmp_path / "oct"
    owned = root if kind == "file" else root / "thesis.txt"
    owned.parent.mkdir(exist_ok=True)
    owned.write_text("years of work")
    with pytest.raises(ValueError, match=r"got something without synthetic_oct\.json: choose"):
        write_synthetic_oct(root, patients_per_class=1, size=SIZE)
    assert owned.read_text() == "years of work"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"patients_per_class": 0}, "patients_per_class to be a whole number >= 1, got 0"),
        ({"patients_per_class": 2.0}, "patients_per_class .* got 2.0"),
        ({"images_per_patient": -1}, "images_per_patient .* >= 1, got -1"),
        ({"images_per_patient": True}, "images_per_patient .* got True"),
        ({"seed": -1}, "seed .* >= 0, got -1"),
        ({"size": (16, 64)}, "height .* >= 32, got 16"),
        ({"size": (64, 31)}, "width .* >= 32, got 31"),
        ({"size": (64,)}, r"size to be \(H, W\), got \(64,\)"),
    ],
)
def test_wrong_arguments_are_named(tmp_path: Path, wrong: dict[str, object], message: str) -> None:
    arguments = {"patients_per_class": 1, "size": SIZE, **wrong}
    with pytest.raises(ValueError, match=message):
        write_synthetic_oct(tmp_path / "oct", **arguments)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_class_is_named() -> None:
    with pytest.raises(ValueError, match=r"one of \('CNV', .*, got 'AMD'"):
        synthetic_bscan("AMD", np.random.default_rng(0))


def test_the_rpe_is_rough_in_drusen_and_cnv_only(bscans: dict[str, list[BScan]]) -> None:
    rough = {c: float(np.median([rpe_roughness(i) for i in bscans[c]])) for c in CLASSES}
    assert max(rough["NORMAL"], rough["DME"]) < 0.7
    assert min(rough["DRUSEN"], rough["CNV"]) > 2 * max(rough["NORMAL"], rough["DME"])
    assert rough["CNV"] > 1.5 * rough["DRUSEN"]


def test_dark_cysts_lie_within_the_retina_in_dme(bscans: dict[str, list[BScan]]) -> None:
    dark = {c: np.array([enclosed_dark_area(i) for i in bscans[c]]) for c in CLASSES}
    assert max(dark["NORMAL"].max(), dark["DRUSEN"].max()) < 100
    assert dark["DME"].min() > 100


def test_the_foveal_pit_is_kept_in_normal_and_lost_in_dme(bscans: dict[str, list[BScan]]) -> None:
    dip = {c: np.array([foveal_dip(i) for i in bscans[c]]) for c in ("NORMAL", "DME")}
    assert np.median(dip["NORMAL"]) > 5
    assert np.median(dip["DME"]) < 2


def test_brightness_does_not_tell_the_classes(bscans: dict[str, list[BScan]]) -> None:
    means = np.array([[image.mean() for image in bscans[c]] for c in CLASSES])
    assert np.ptp(means.mean(axis=1)) < 1.5 * means.std(axis=1).min()
