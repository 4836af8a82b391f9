"""Samples on the device: the batches are those of the loader that they stand in for."""

import pytest
import torch
from monai.data import CacheDataset, DataLoader, MetaTensor
from monai.transforms import Compose, EnsureTyped, Lambda, RandFlipd, ScaleIntensityd

from monai_ima.data import (
    BatchSampler,
    ImageBatches,
    ResidentSamples,
    SharedBatches,
    resident,
    share_of_samples,
)

SAMPLES, BATCH = 11, 4


def items(count=SAMPLES, shape=(1, 3, 5)):
    generator = torch.Generator().manual_seed(0)
    return [
        {
            "image": torch.rand(*shape, generator=generator),
            "label": place % 3,
            "index": count - place,
            "id": f"s{place}",
        }
        for place in range(count)
    ]


def cached(*transforms, data=None, **options):
    steps = Compose([ScaleIntensityd("image"), *transforms])
    return CacheDataset(data or items(), steps, progress=False, **options)


def same(batch, other):
    assert batch.keys() == other.keys()
    for name, value in batch.items():
        if isinstance(value, torch.Tensor):
            assert value.dtype == other[name].dtype
            assert torch.equal(value, other[name]), name
        else:
            assert value == other[name], name
    return True


IMBALANCED = [0] * 7 + [1] * 3 + [2]


def drawn(resident, *, epochs=2, **options):
    """The rows of each batch of some epochs, of which each begins with its seed."""
    data = [item | {"row": row} for row, item in enumerate(items())]
    loader = ImageBatches(
        cached(data=data), BATCH, device="cpu", resident=resident, labels=IMBALANCED, **options
    )
    found = []
    for epoch in range(epochs):
        torch.manual_seed(epoch)
        found.append([batch["row"].tolist() for batch in loader])
        assert len(found[-1]) == len(loader)
    return found


def test_of_balanced_images_each_class_comes_equally_often():
    """As BatchSampler draws them, resident or not, and in an epoch that a resume begins with."""
    for epoch_size, each, batches in ((None, 7, 6), (12, 4, 3)):
        options = {"sampling": "balanced", "epoch_size": epoch_size}
        first, second = drawn(True, **options)
        assert drawn(False, **options) == [first, second]
        for rows in (first, second):
            assert len(rows) == batches
            labels = torch.tensor(IMBALANCED)[[row for batch in rows for row in batch]]
            assert labels.bincount().tolist() == [each] * 3
        sampler = BatchSampler(torch.tensor(IMBALANCED), BATCH, **options)
        torch.manual_seed(1)
        torch.empty((), dtype=torch.int64).random_()  # of the loader, before it draws
        assert [rows.tolist() for rows in sampler] == second
        assert first != second


def test_an_epoch_of_shuffled_images_can_be_shorter():
    first, second = drawn(True, sampling="shuffled", epoch_size=5)
    assert drawn(False, sampling="shuffled", epoch_size=5) == [first, second]
    assert [len(rows) for rows in first] == [4, 1]
    assert len({*first[0], *first[1]}) == 5
    assert first != second


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"sampling": "balanced"}, "labels of all 11 samples .*, got none; .* choose shuffled"),
        ({"sampling": "balanced", "labels": [0, 1]}, "labels of all 11 samples .*, got 2"),
        ({"sampling": "random"}, "sampling to be one of"),
        ({"epoch_size": 3}, "no epoch_size with sequential"),
        ({"sampling": "shuffled", "epoch_size": 12}, "at most the 11 samples"),
    ],
)
def test_sampling_that_does_not_fit_is_rejected(options, said):
    with pytest.raises(ValueError, match=said):
        ImageBatches(cached(), BATCH, device="cpu", **options)


@pytest.mark.parametrize("shuffle", [True, False])
def test_batches_and_what_is_drawn_between_are_those_of_monai_s_loader(shuffle):
    passes = []
    for options in (
        {},
        {"device": "cpu", "resident": True},
        {"device": "cpu", "resident": False},
    ):
        torch.manual_seed(3)
        order = {"sampling": "shuffled" if shuffle else "sequential"}
        order = order if options else {"shuffle": shuffle}
        loader = (ImageBatches if options else DataLoader)(
            cached(), batch_size=BATCH, **order, **options
        )
        passes.append([(batch, torch.rand(2)) for _ in range(3) for batch in loader])
        assert len(loader) == 3
        assert isinstance(loader.dataset, ResidentSamples) == options.get("resident", False)
    for of_monai, *own in zip(*passes, strict=True):
        for batch, drawn in own:
            assert same(of_monai[0], batch)
            assert torch.equal(of_monai[1], drawn)


def test_what_is_indexed_is_a_plain_tensor():
    data = cached(EnsureTyped("image", track_meta=True))
    assert isinstance(data[0]["image"], MetaTensor)
    batch = next(iter(ImageBatches(data, BATCH, device="cpu", resident=True)))
    assert type(batch["image"]) is torch.Tensor


@pytest.mark.parametrize("sampling", ["shuffled", "balanced"])
def test_several_processes_take_their_shares_of_the_same_batches(monkeypatch, sampling):
    monkeypatch.setattr("monai_ima.data.shares.processes", lambda: 2)
    for rank in (0, 1):
        monkeypatch.setattr("monai_ima.data.shares.rank", lambda rank=rank: rank)
        found = []
        for options in ({"resident": False}, {"resident": True}):
            torch.manual_seed(0)
            shuffled, ordered = (
                ImageBatches(
                    cached(),
                    BATCH,
                    device="cpu",
                    sampling=order,
                    labels=[0, 1] * 5 + [1],
                    **options,
                )
                for order in (sampling, "sequential")
            )
            found.append([*SharedBatches(shuffled), *share_of_samples(ordered)])
        assert len(found[0]) == 6
        assert all(same(*pair) for pair in zip(*found, strict=True))


def test_samples_are_kept_once():
    data, other = cached(), cached()
    first, second = (ImageBatches(data, size, device="cpu", resident=True) for size in (2, 3))
    assert first.dataset is second.dataset
    assert ImageBatches(other, 2, device="cpu", resident=True).dataset is not first.dataset


@pytest.fixture
def gpu(monkeypatch):
    """A device to choose for: ``meta`` in its place, and so much memory free."""
    free = {"bytes": 10**6}
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free["bytes"], 10**9))
    monkeypatch.setattr(resident, "_kept", lambda dataset, device: ResidentSamples(dataset, "cpu"))
    return free


def is_resident(data, **options):
    loader = ImageBatches(data, BATCH, device="cuda", **options)
    assert isinstance(loader.dataset, ResidentSamples) or loader.pin_memory
    return isinstance(loader.dataset, ResidentSamples)


def test_auto_is_for_what_fits_onto_a_gpu_and_is_the_same_in_every_epoch(gpu):
    sizes = [*items(1), *items(1, (1, 3, 6))]
    assert is_resident(cached())
    assert not is_resident(cached(), resident=False)
    assert not is_resident(cached(RandFlipd("image")))
    assert not is_resident(cached(Compose([RandFlipd("image")])))
    assert not is_resident(cached(lambda sample: sample))
    assert not is_resident(cached(cache_rate=0.5))
    assert not is_resident(cached(data=sizes))
    assert not is_resident(cached(), persistent_workers=True, num_workers=1)
    gpu["bytes"] = 2 * 4 * 15 * SAMPLES
    assert is_resident(cached())
    gpu["bytes"] -= 1
    assert not is_resident(cached())
    loader = ImageBatches(cached(), BATCH, device="cpu")
    assert not isinstance(loader.dataset, ResidentSamples)
    assert not loader.pin_memory


@pytest.mark.parametrize(
    ("data", "options", "said"),
    [
        (lambda: cached(RandFlipd("image")), {}, "set resident to false, or leave augmentation"),
        (lambda: cached(Lambda(lambda x: x), lambda x: x), {}, "none of MONAI's and may be"),
        (
            lambda: cached(data=[*items(1), *items(1, (1, 3, 6))]),
            {},
            r"of one shape, got .*\(1, 3, 5\).* and .*\(1, 3, 6\)",
        ),
        (cached, {"drop_last": True}, "without drop_last"),
    ],
)
def test_what_cannot_be_resident_is_rejected(data, options, said):
    with pytest.raises(ValueError, match=said):
        ImageBatches(data(), BATCH, device="cpu", resident=True, **options)
