"""Samples on the device: the batches are those of the loader that they stand in for."""

import pytest
import torch
from monai.data import CacheDataset, DataLoader, MetaTensor
from monai.transforms import Compose, EnsureTyped, Lambda, RandFlipd, ScaleIntensityd

from monai_ima.data import ImageBatches, ResidentSamples, SharedBatches, resident, share_of_samples

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


@pytest.mark.parametrize("shuffle", [True, False])
def test_batches_and_what_is_drawn_between_are_those_of_monai_s_loader(shuffle):
    passes = []
    for options in ({}, {"device": "cpu", "resident": True}):
        torch.manual_seed(3)
        loader = (ImageBatches if options else DataLoader)(
            cached(), batch_size=BATCH, shuffle=shuffle, **options
        )
        passes.append([(batch, torch.rand(2)) for _ in range(3) for batch in loader])
        assert len(loader) == 3
        assert isinstance(loader.dataset, ResidentSamples) == bool(options)
    for (batch, drawn), (other, then) in zip(*passes, strict=True):
        assert same(batch, other)
        assert torch.equal(drawn, then)


def test_what_is_indexed_is_a_plain_tensor():
    data = cached(EnsureTyped("image", track_meta=True))
    assert isinstance(data[0]["image"], MetaTensor)
    batch = next(iter(ImageBatches(data, BATCH, device="cpu", resident=True)))
    assert type(batch["image"]) is torch.Tensor


def test_several_processes_take_their_shares_of_the_same_batches(monkeypatch):
    monkeypatch.setattr("monai_ima.data.shares.processes", lambda: 2)
    for rank in (0, 1):
        monkeypatch.setattr("monai_ima.data.shares.rank", lambda rank=rank: rank)
        found = []
        for options in ({"resident": False}, {"resident": True}):
            torch.manual_seed(0)
            shuffled, ordered = (
                ImageBatches(cached(), BATCH, device="cpu", shuffle=shuffle, **options)
                for shuffle in (True, False)
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
