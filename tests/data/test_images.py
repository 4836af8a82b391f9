import gzip
import os
import pickle
import struct
import zlib
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from monai.transforms import Compose, EnsureTyped, Resized
from PIL import Image

from monai_ima.data import CenterSquareCropd, LoadIntensityd
from monai_ima.data.images import count_channels

DATA = Path(os.environ.get("MONAI_IMA_DATA", Path(__file__).parents[3] / "shared" / "data"))
GREY = np.arange(0, 240, 40, dtype=np.uint8).reshape(2, 3)  # H 2, W 3: a transposition shows


def save(path, array, mode=None):
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(path)
    return path


def save_nifti(path, array):
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), path)
    return path


def noise(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def load(path):
    return LoadIntensityd("image")({"image": str(path)})["image"]


@pytest.mark.parametrize(
    ("array", "mode", "expected"),
    [
        pytest.param(GREY, None, GREY / 255, id="8 bits"),
        pytest.param(GREY.astype(np.uint16) * 257, None, GREY / 255, id="16 bits"),
        pytest.param(GREY, "RGB", GREY / 255, id="grey stored as colour"),
        pytest.param(GREY, "LA", GREY / 255, id="grey with opacity"),
        pytest.param(GREY > 100, None, GREY > 100, id="1 bit"),
        pytest.param(
            np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8),
            None,
            [[0.299, 0.587, 0.114]],
            id="luminance of colours",
        ),
    ],
)
def test_png_values_keep_their_scale_and_place(tmp_path, array, mode, expected):
    image = load(save(tmp_path / "image.png", array, mode))

    assert image.dtype == torch.float32
    assert image.shape == (1, *np.shape(expected))
    np.testing.assert_allclose(
        image[0].numpy(), expected, atol=1.5 / 255 if array.ndim == 3 else 1e-6
    )


def test_16_bits_are_not_cut_to_8(tmp_path):
    image = load(save(tmp_path / "image.png", np.array([[1, 256, 65535]], np.uint16)))

    assert image[0, 0].tolist() == pytest.approx([1 / 65535, 256 / 65535, 1], rel=1e-6)


def test_jpeg_keeps_its_height_first(tmp_path):
    array = np.repeat(np.array([[0], [255]], np.uint8), 24, axis=1).repeat(8, axis=0)
    image = load(save(tmp_path / "image.JPEG", array))

    assert image.shape == (1, 16, 24)
    assert image[0, :8].max() < 0.05
    assert image[0, 8:].min() > 0.95


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 1), (2, 3, 4)])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_nifti_is_min_max_scaled_with_its_axes_as_stored(tmp_path, shape, suffix):
    array = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    image = load(save_nifti(tmp_path / f"image{suffix}", array * 1000 - 500))

    assert image.dtype == torch.float32
    torch.testing.assert_close(
        image.as_tensor(),
        torch.from_numpy(array / array.max()).reshape(1, *shape[: 2 + (shape[-1] == 4)]),
    )


def test_a_constant_nifti_becomes_zeros(tmp_path):
    image = load(save_nifti(tmp_path / "image.nii", np.full((2, 3), 7, np.float32)))

    assert image.tolist() == [[[0.0] * 3] * 2]


RGB24 = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])


@pytest.mark.parametrize(
    ("name", "array", "channels"),
    [
        ("image.png", GREY, 1),
        ("image.png", noise(2, 5, 3), 3),
        ("image.jpeg", noise(2, 5, 3), 3),
        ("image.png", noise(2, 5, 4), 4),
        ("image.nii", noise(2, 5), 1),
        ("image.nii", noise(2, 5, 7), 1),
        ("image.nii.gz", noise(2, 5, 7, 3), 3),
        ("image.nii.gz", noise(2, 5, 7, 1, 3), 3),
        ("image.nii", np.zeros((2, 5, 7), RGB24), 3),
    ],
)
def test_channels_are_counted(tmp_path, name, array, channels):
    (save_nifti if ".nii" in name else save)(tmp_path / name, array)

    assert count_channels(tmp_path / name) == channels


def cut_short(path):
    path.write_bytes(path.read_bytes()[:-200])
    return path


def not_gzip(path):
    path.write_bytes(gzip.decompress(path.read_bytes()))
    return path


def text(path):
    path.write_text("not an image")
    return path


BROKEN = {
    "text": lambda tmp: text(tmp / "image.png"),
    "text nifti": lambda tmp: text(tmp / "image.nii"),
    "cut png": lambda tmp: cut_short(save(tmp / "image.png", noise(30, 40))),
    "cut jpeg": lambda tmp: cut_short(save(tmp / "image.jpeg", noise(30, 40))),
    "cut nifti": lambda tmp: cut_short(save_nifti(tmp / "image.nii", noise(30, 40))),
    "cut nifti.gz": lambda tmp: cut_short(save_nifti(tmp / "image.nii.gz", noise(30, 40))),
    "not gzip": lambda tmp: not_gzip(save_nifti(tmp / "image.nii.gz", noise(30, 40))),
    "nan": lambda tmp: save_nifti(tmp / "image.nii", np.array([[0, np.nan]], np.float32)),
    "inf": lambda tmp: save_nifti(tmp / "image.nii", np.array([[0, -np.inf]], np.float32)),
    "4-D": lambda tmp: save_nifti(tmp / "image.nii", noise(2, 3, 4, 5)),
}
REASON = {"nan": "finite", "inf": "finite", "4-D": r"shape \(2, 3, 4, 5\)", "cut jpeg": "truncated"}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_is_named_with_the_reason(tmp_path, case):
    path = BROKEN[case](tmp_path)

    with pytest.raises(
        ValueError, match=rf"(?s){path.name} .*: .*{REASON.get(case, '')}.*; replace the"
    ):
        load(path)


@pytest.mark.parametrize("name", ["image.png", "image.nii"])
def test_a_missing_file_is_missing(tmp_path, name):
    with pytest.raises(FileNotFoundError, match=name):
        load(tmp_path / name)


@pytest.mark.parametrize(
    ("shape", "window"),
    [
        ((1, 4, 8), np.s_[:, :, 2:6]),
        ((1, 9, 5), np.s_[:, 2:7, :]),
        ((2, 3, 5, 7), np.s_[:, :, 1:4, 2:5]),
        ((1, 4, 4), np.s_[:]),
    ],
)
def test_the_crop_is_square_and_central(shape, window):
    image = torch.arange(float(np.prod(shape))).reshape(shape)

    assert torch.equal(CenterSquareCropd("image")({"image": image})["image"], image[window])


def test_other_items_and_the_sample_given_are_left_alone(tmp_path):
    sample = {
        "image": str(save(tmp_path / "image.png", GREY)),
        "label": 3,
        "patient": "7",
        "index": 5,
    }
    before = dict(sample)

    loaded = LoadIntensityd("image")(sample)
    cropped = CenterSquareCropd("image")(loaded)

    assert sample == before
    assert loaded["image"].shape == (1, 2, 3)
    assert cropped["image"].shape == (1, 2, 2)
    assert {key: cropped[key] for key in ("label", "patient", "index")} == {
        "label": 3,
        "patient": "7",
        "index": 5,
    }


def test_the_bundle_s_chain_gives_plain_tensors_in_worker_processes_too(tmp_path):
    chain = Compose(
        [
            LoadIntensityd("image"),
            CenterSquareCropd("image"),
            Resized("image", (8, 8), mode="area"),
            EnsureTyped("image", track_meta=False),
        ]
    )
    path = save(tmp_path / "image.png", np.repeat(GREY, 8, axis=0).repeat(8, axis=1))

    image = pickle.loads(pickle.dumps(chain))({"image": str(path)})["image"]  # spawn pickles

    assert type(image) is torch.Tensor
    assert image.shape == (1, 8, 8)
    assert 0 <= image.min() <= image.max() <= 1


@pytest.mark.skipif(not (DATA / "oct").is_dir(), reason=f"no OCT images in {DATA / 'oct'}")
def test_a_real_wide_oct_image_is_cropped_to_its_height():
    path = DATA / "oct" / "CNV" / "CNV-1016042-3.jpeg"
    image = load(path)
    square = CenterSquareCropd("image")({"image": image})["image"]

    assert image.shape == (1, 496, 768)
    np.testing.assert_allclose(image[0].numpy(), np.asarray(Image.open(path)) / 255, atol=1e-6)
    assert torch.equal(square, image[:, :, 136:632])


# --- TIFF, orientation, transparency --------------------------------------------------------------


def save_tiff(path, array, **options):
    import tifffile

    tifffile.imwrite(path, array, **options)
    return path


@pytest.mark.parametrize(
    ("array", "options", "expected"),
    [
        pytest.param(GREY, {}, GREY / 255, id="8 bits"),
        pytest.param(GREY.astype(np.uint16) * 257, {}, GREY / 255, id="16 bits"),
        pytest.param(GREY.astype(">u2") * 257, {"byteorder": ">"}, GREY / 255, id="big endian"),
        pytest.param(GREY.astype(np.float32) / 255, {}, GREY / 255, id="floats"),
        pytest.param(GREY, {"photometric": "miniswhite"}, 1 - GREY / 255, id="white is zero"),
    ],
)
def test_tiff_values_keep_their_scale(tmp_path, array, options, expected):
    image = load(save_tiff(tmp_path / "image.tif", array, **options))

    assert image.dtype == torch.float32
    np.testing.assert_allclose(image[0].numpy(), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("array", "options", "message"),
    [
        pytest.param(noise(2, 3).astype(np.int8), {}, r"mode L \(signed 8 bits\)", id="int8"),
        pytest.param(noise(2, 3).astype(np.int16), {}, r"mode I \(signed 16 bits\)", id="int16"),
        pytest.param(noise(2, 3).astype(np.uint32), {}, r"mode I \(32 bits\)", id="uint32"),
        pytest.param(noise(2, 3).astype(np.int32), {}, r"mode I \(signed 32 bits\)", id="int32"),
        pytest.param(
            noise(2, 3).astype(np.uint16),
            {"photometric": "miniswhite"},
            r"mode I;16 \(16 bits, white is zero\)",
            id="16 bits, white is zero",
        ),
        pytest.param(noise(3, 20, 30), {"photometric": "minisblack"}, "got 3; save", id="pages"),
        pytest.param(
            GREY.astype(np.float32),
            {},
            "from 0 to 1, got 0 to 200; say with intensity_range",
            id="floats",
        ),
        pytest.param(
            np.full((2, 3), np.nan, np.float32), {}, "NaN in 6 of 6; say with nan_value", id="NaN"
        ),
        pytest.param(
            noise(6, 7, 2),
            {"photometric": "minisblack", "planarconfig": "contig", "extrasamples": [0]},
            "got a further channel that is neither",
            id="two channels",
        ),
        pytest.param(
            noise(6, 7, 4),
            {"photometric": "rgb", "extrasamples": [0]},
            "got a further channel that is neither",
            id="four channels",
        ),
        pytest.param(
            noise(6, 7, 2),
            {"photometric": "minisblack", "planarconfig": "contig", "extrasamples": [1]},
            "transparent pixels; save it without",
            id="grey times opacity",
        ),
    ],
)
def test_tiff_of_an_unknown_scale_is_refused(tmp_path, array, options, message):
    path = save_tiff(tmp_path / "image.tif", array, **options)

    with pytest.raises(ValueError, match=rf"cannot read .*image.tif .*{message}"):
        load(path)


@pytest.mark.parametrize(
    ("orientation", "turned"),
    [
        (1, lambda a: a),
        (2, np.fliplr),
        (3, lambda a: np.rot90(a, 2)),
        (5, np.transpose),
        (6, lambda a: np.rot90(a, -1)),
        (8, np.rot90),
    ],
)
@pytest.mark.parametrize("suffix", ["png", "jpeg", "tif"])
def test_orientation_is_followed(tmp_path, orientation, turned, suffix):
    blocks = GREY.repeat(16, axis=0).repeat(16, axis=1)
    image = Image.fromarray(blocks)
    exif = image.getexif()
    exif[0x0112] = orientation
    image.save(tmp_path / f"image.{suffix}", exif=exif)

    loaded = load(tmp_path / f"image.{suffix}")

    np.testing.assert_allclose(loaded[0].numpy(), turned(blocks) / 255, atol=0.02)


def test_transparent_pixels_are_refused(tmp_path):
    image = Image.new("LA", (3, 2), (200, 255))
    image.putpixel((1, 1), (200, 254))
    image.save(tmp_path / "image.png")

    with pytest.raises(ValueError, match=r"image.png .*transparent pixels; save it without"):
        load(tmp_path / "image.png")


def test_a_bitmap_is_read(tmp_path):
    np.testing.assert_allclose(load(save(tmp_path / "image.bmp", GREY))[0].numpy(), GREY / 255)


def test_an_animation_is_refused(tmp_path):
    frames = [Image.fromarray(noise(4, 5)), Image.fromarray(255 - noise(4, 5))]
    frames[0].save(tmp_path / "image.png", save_all=True, append_images=frames[1:])

    with pytest.raises(ValueError, match=r"expected one page, got 2"):
        load(tmp_path / "image.png")


# --- NaN, sizes, other kinds of files -------------------------------------------------------------


@pytest.mark.parametrize(("nan_value", "expected"), [(0, 0.0), (0.25, 0.25), (1, 1.0)])
def test_nan_becomes_what_is_asked_for(tmp_path, nan_value, expected):
    values = np.array([[-100, np.nan, 0], [np.nan, 100, 50]], np.float32)
    path = save_nifti(tmp_path / "image.nii.gz", values)

    image = LoadIntensityd("image", nan_value=nan_value)({"image": str(path)})["image"]

    assert image[0].tolist() == [[0, expected, 0.5], [expected, 1, 0.75]]
    with pytest.raises(ValueError, match=r"NaN in 2 of 6; say with nan_value what NaN becomes"):
        load(path)


def test_nan_in_a_tiff_of_floats_becomes_what_is_asked_for(tmp_path):
    path = save_tiff(tmp_path / "image.tif", np.array([[0.5, np.nan]], np.float32))

    assert LoadIntensityd("image", nan_value=1)({"image": path})["image"].tolist() == [[[0.5, 1.0]]]


@pytest.mark.parametrize("values", [[np.nan, np.nan], [0, np.inf], [np.nan, -np.inf]])
def test_nothing_but_nan_and_infinity_are_refused_all_the_same(tmp_path, values):
    path = save_nifti(tmp_path / "image.nii", np.array([values], np.float32))

    with pytest.raises(ValueError, match="expected finite values"):
        LoadIntensityd("image", nan_value=0)({"image": path})


@pytest.mark.parametrize("nan_value", [-0.1, 1.5, np.nan, "0"])
def test_a_grey_value_for_nan_is_from_0_to_1(nan_value):
    with pytest.raises(ValueError, match=r"nan_value to be an intensity from 0 to 1.* got"):
        LoadIntensityd("image", nan_value=nan_value)


def claims(path, shape):
    """A NIfTI file whose header claims another shape."""
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.float32)
    header.set_data_shape(shape)
    content = header.binaryblock + bytes(4) + bytes(1000)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.mark.parametrize("name", ["image.nii", "image.nii.gz"])
@pytest.mark.parametrize(
    ("shape", "message"),
    [((2000, 2000, 1700), r"voxels, got the shape \(2000, "), ((400, 400, 400), "cut off")],
)
def test_a_header_that_claims_too_much_is_refused_before_anything_is_read(
    tmp_path, name, shape, message, monkeypatch
):
    path = claims(tmp_path / name, shape)
    monkeypatch.setattr("monai.data.NibabelReader.read", None)

    for read in (load, count_channels):
        with pytest.raises(ValueError, match=rf"cannot read .*{name} .*{message}"):
            read(path)


def test_a_pipe_is_refused_without_being_opened(tmp_path):
    os.mkfifo(tmp_path / "image.png")

    for read in (load, count_channels):
        with pytest.raises(ValueError, match=r"image.png .*a regular file, got a pipe"):
            read(tmp_path / "image.png")


@pytest.mark.parametrize("shape", [(1, 64, 64, 6), (1, 8, 80)])
def test_a_crop_that_drops_most_of_an_image_is_refused(shape):
    with pytest.raises(ValueError, match=r"keeps a quarter .*got \d+.\d% of .*--crop false"):
        CenterSquareCropd("image")({"image": torch.zeros(shape)})


def test_the_image_that_a_crop_would_drop_is_named(tmp_path):
    loaded = LoadIntensityd("image")({"image": save(tmp_path / "wide.png", noise(4, 80))})

    with pytest.raises(ValueError, match=r"a quarter of .*wide.png at least, got 5.0% of 4 x 80"):
        CenterSquareCropd("image")(loaded)


@pytest.mark.parametrize("name", ["image.nii", "image.nii.gz"])
@pytest.mark.parametrize("offset", [0, 351, -352, 2.0**27, 1e10, 3e38, np.nan, np.inf])
def test_voxels_that_are_said_to_be_elsewhere_are_refused_at_once(tmp_path, name, offset):
    """At 0 the header was taken for voxels; far behind it, all that a file unpacks to was read."""
    path = save_nifti(tmp_path / name, noise(20, 30))
    packed = path.suffix == ".gz"
    content = bytearray(gzip.decompress(path.read_bytes()) if packed else path.read_bytes())
    content[108:112] = np.float32(offset).tobytes()
    content += bytes(2**20)
    path.write_bytes(gzip.compress(content) if packed else content)
    for read in (load, count_channels):
        with pytest.raises(
            ValueError, match=rf"cannot read {path} as .*(vox.offset|NaN|infinity|header says)"
        ):
            read(path)


COLOURS = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [10, 20, 30]]], np.uint8)


def test_colour_is_kept_where_it_is_asked_for(tmp_path):
    path = save(tmp_path / "image.png", COLOURS)
    image = LoadIntensityd("image", colour=True)({"image": path})["image"]

    np.testing.assert_allclose(image.numpy(), COLOURS.transpose(2, 0, 1) / 255, atol=1e-7)


@pytest.mark.parametrize("mode", [None, "RGB", "P"])
def test_what_is_grey_has_the_same_in_all_three_channels(tmp_path, mode):
    path = save(tmp_path / "image.png", GREY, mode)
    image = LoadIntensityd("image", colour=True)({"image": path})["image"]

    np.testing.assert_allclose(image.numpy(), np.stack([GREY / 255] * 3), atol=1e-7)


def test_16_bits_are_not_cut_to_8_in_colour(tmp_path):
    path = save(tmp_path / "image.png", np.array([[1, 256, 65535]], np.uint16))
    image = LoadIntensityd("image", colour=True)({"image": path})["image"]

    assert image[2, 0].tolist() == pytest.approx([1 / 65535, 256 / 65535, 1], rel=1e-6)


def test_that_colour_becomes_grey_is_said_once(tmp_path, caplog):
    load_grey, path = LoadIntensityd("image"), save(tmp_path / "image.png", COLOURS)
    for _ in range(2):
        load_grey({"image": path})

    (record,) = caplog.records
    assert record.getMessage() == (
        f"{path} has 3 channels and becomes grey, as will others; a training keeps colour with "
        "--colour true"
    )
    load_grey({"image": save(tmp_path / "grey.png", GREY)})
    LoadIntensityd("image", colour=True)({"image": path})
    assert len(caplog.records) == 1


def test_a_range_in_the_units_of_the_files_becomes_0_to_1(tmp_path):
    twelve_bits = save(tmp_path / "image.png", np.array([[0, 1365, 4095, 9000]], np.uint16))
    hounsfield = save_nifti(tmp_path / "image.nii", np.array([[-1000.0, -160, 40, 240, 3000]]))

    for path, ends, expected in (
        (twelve_bits, [0, 4095], [0, 1 / 3, 1, 1]),
        (hounsfield, [-160, 240], [0, 0, 0.5, 1, 1]),
    ):
        image = LoadIntensityd("image", intensity_range=ends)({"image": path})["image"]
        assert image.flatten().tolist() == pytest.approx(expected)


@pytest.mark.parametrize(
    "array", [np.zeros((2, 3), np.float16), np.zeros((2, 3)), np.zeros((2, 3, 5), np.uint8)]
)
def test_what_a_tiff_must_be_is_said_where_it_is_another(tmp_path, array):
    tifffile = pytest.importorskip("tifffile")
    layout = {} if array.ndim == 2 else {"planarconfig": "contig"}
    tifffile.imwrite(tmp_path / "image.tif", array, photometric="minisblack", **layout)

    with pytest.raises(ValueError, match=r"image.tif .*a TIFF of grey values .*got another"):
        load(tmp_path / "image.tif")


@pytest.mark.parametrize("kind", ["rgb.png", "grey_and_opacity.png", "rgb.tif"])
def test_16_bits_in_several_channels_have_no_units(tmp_path, kind):
    """PIL has the upper 8 bits only: all of 12 bits in 16 became 15 levels of 4095, nearly black."""
    grey = np.array([[0, 1365, 4095]], np.uint16)
    path = tmp_path / kind
    if path.suffix == ".tif":
        tifffile = pytest.importorskip("tifffile")
        tifffile.imwrite(path, np.stack([grey] * 3, axis=-1), photometric="rgb")
    else:
        channels = [grey] * 3 if kind == "rgb.png" else [grey, np.full_like(grey, 65535)]
        path.write_bytes(png_of_16_bits(np.stack(channels, axis=-1)))

    load(path)  # by its full range
    for intensity_range in ([0, 4095], "minmax"):
        with pytest.raises(ValueError, match=rf"{kind} .*got 16 bits in several channels.*in grey"):
            LoadIntensityd("image", intensity_range=intensity_range)({"image": path})


def png_of_16_bits(array):
    """``(H, W, C)``, which PIL does not write."""

    def chunk(kind, content):
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    height, width, channels = array.shape
    colour_type = {2: 4, 3: 2}[channels]
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
    parts = (b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def test_floats_of_any_scale_are_read_by_a_range(tmp_path):
    path = save_tiff(tmp_path / "image.tif", np.array([[-2.0, 0, 2, 9]], np.float32))
    image = LoadIntensityd("image", intensity_range=[-2, 2])({"image": path})["image"]

    assert image.flatten().tolist() == [0, 0.5, 1, 1]


def test_the_brightest_voxels_do_not_darken_an_image_scaled_by_percentiles(tmp_path):
    values = np.linspace(0, 100, 2000, dtype=np.float32).reshape(40, 50)
    values[0, 0] = 1e5
    path = save_nifti(tmp_path / "image.nii", values)

    darkened = load(path)
    image = LoadIntensityd("image", intensity_range="percentiles")({"image": path})["image"]

    assert darkened.median() < 0.001
    assert image.median() == pytest.approx(0.5, abs=0.01)
    assert (image.min(), image.max()) == (0, 1)


def test_the_full_range_of_8_bits_is_used_where_asked(tmp_path):
    path = save(tmp_path / "image.png", np.array([[50, 100, 150]], np.uint8))
    image = LoadIntensityd("image", intensity_range="minmax")({"image": path})["image"]

    assert image.flatten().tolist() == [0, 0.5, 1]


@pytest.mark.parametrize("given", [[1], [1, 1], [3, 2], "window", [0, None], ["0", "1"], 5])
def test_a_range_is_two_rising_numbers_or_a_known_word(given):
    with pytest.raises(ValueError, match=r"intensity_range to be \[low, high\].* got"):
        LoadIntensityd("image", intensity_range=given)


VOLUME = np.random.default_rng(0).integers(0, 1000, (20, 21, 22)).astype(np.int16)


@pytest.mark.parametrize("at", ["middle", "checksum"])
def test_a_compressed_volume_that_is_damaged_is_refused(tmp_path, at):
    """Broken in the middle it still unpacked, to other voxels; nobody had read the checksum."""
    path = save_nifti(tmp_path / "image.nii.gz", np.zeros_like(VOLUME))
    content = bytearray(gzip.compress(gzip.decompress(path.read_bytes()), 0))  # stored as it is
    place = len(content) // 2 if at == "middle" else len(content) - 8
    content[place] ^= 1
    path.write_bytes(content)

    with pytest.raises(ValueError, match=r"cannot read .*image.nii.gz .*CRC check failed"):
        load(path)


def edited(path, place, values):
    """A NIfTI file with other bytes in its header."""
    content = bytearray(path.read_bytes())
    content[place : place + len(values)] = values
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("place", "values", "message"),
    [
        (123, bytes([1]), r"size and direction of the voxels in mm, .*\(meter\)"),
        (123, bytes([3]), r"in mm, .*\(micron\)"),
        (280, bytes(48), r"in mm, .*got 0 x 0 x 0 \(unknown\); correct the header"),
        (280, np.full(12, np.nan, np.float32).tobytes(), "in mm, .*got nan"),
        (280, np.eye(3, 4, dtype=np.float32).ravel() * 1e-3, "got 0.02 x 0.021 x 0.022"),
        (280, np.eye(3, 4, dtype=np.float32).ravel() * 1e3, "from 0.1 to 10000 mm wide, got 20000"),
    ],
)
def test_sizes_that_no_volume_has_are_refused(tmp_path, place, values, message):
    path = edited(save_nifti(tmp_path / "image.nii", VOLUME), place, bytes(values))

    with pytest.raises(ValueError, match=rf"cannot read .*image.nii .*{message}"):
        load(path)


def test_complex_numbers_and_colours_are_no_grey_levels(tmp_path):
    colours = np.zeros((4, 5, 6), RGB24)
    for number, array in enumerate((VOLUME.astype(np.complex64), colours)):
        with pytest.raises(ValueError, match=r"expected grey levels, got values of the type"):
            load(save_nifti(tmp_path / f"{number}.nii", array))


def test_a_volume_of_several_times_leads_to_one(tmp_path):
    with pytest.raises(ValueError, match=r"got the shape \(20, 21, 22, 2\); save one of them"):
        load(save_nifti(tmp_path / "image.nii", np.stack([VOLUME, VOLUME], axis=-1)))
