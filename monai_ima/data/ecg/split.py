"""Which beats train, validate and test: by chance as in the paper, or by patient as in a clinic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from monai_ima.data.ecg.beats import CLASSES
from monai_ima.data.ecg.kaggle import KAGGLE_TEST, KAGGLE_TRAIN

if TYPE_CHECKING:
    from monai_ima.data.ecg.dataset import EcgBeats

DS1 = (
    *("101", "106", "108", "109", "112", "114", "115", "116", "118", "119", "122"),
    *("124", "201", "203", "205", "207", "208", "209", "215", "220", "223", "230"),
)
DS2 = (
    *("100", "103", "105", "111", "113", "117", "121", "123", "200", "202", "210"),
    *("212", "213", "214", "219", "221", "222", "228", "231", "232", "233", "234"),
)
PACED = ("102", "104", "107", "217")
PROTOCOLS = ("random", "inter_patient")

_SAMPLES, _VALIDATION, _TEST = 109_446, 17_511, 21_892  # section 3.1 of the IMA paper
_VALIDATION_SHARE = _VALIDATION / (_SAMPLES - _TEST)

_DRAWS = 2000

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Texts = npt.NDArray[np.str_]


@dataclass(frozen=True, eq=False)
class BeatSplit:
    """Three disjoint sets of beats, as ascending indices.

    Attributes:
        protocol: how they were chosen.
        training: what a network learns from; a beat's place here is its key in a margin store.
        validation: what settings are chosen by.
        test: what results are reported on.
        left_out: how many beats are in none of them, by reason.
        warning: what a reader of the results has to know; empty if nothing.
    """

    protocol: str
    training: Ints
    validation: Ints
    test: Ints
    left_out: dict[str, int]
    warning: str


def split_beats(beats: EcgBeats, protocol: str = "random", seed: int = 0) -> BeatSplit:
    """Split beats by one of two protocols.

    ``random``
        The paper's: 70,043 for training, 17,511 for validation and 21,892 for the test, or the same
        shares of another number, drawn from all beats, each class in these shares. Beats of one
        patient are on all sides, so that the results hold for the patients seen, not for new ones.
        Of Kaggle's files, the test set is that published.
    ``inter_patient``
        De Chazal et al. 2004 (doi:10.1109/TBME.2004.827359): DS1 for training and validation, DS2
        for the test, the four paced records left out. Records 201 (in their DS1) and 202 (in their
        DS2) are the same subject. Here 201 is left out and DS2 kept whole, so that the test is the
        same as in other work. A fifth of DS1 is for validation, by patient, of each class as near
        to that as whole patients allow.

    Args:
        beats: of the MIT-BIH Arrhythmia Database for ``inter_patient``.
        protocol: ``"random"`` or ``"inter_patient"``.
        seed: what the draw depends on; under ``inter_patient``, that of the validation set.

    Raises:
        ValueError: if there is no such protocol, a set would be empty, or under ``inter_patient``
            a record is not of that database, or a patient is on two sides.
    """
    match protocol:
        case "random":
            split = _random(beats, seed)
        case "inter_patient":
            split = _inter_patient(beats, seed)
        case _:
            raise ValueError(
                f"expected the protocol to be one of {', '.join(PROTOCOLS)}, got {protocol!r}"
            )
    sizes = {name: len(getattr(split, name)) for name in ("training", "validation", "test")}
    if not all(sizes.values()):
        raise ValueError(
            f"expected beats for training, validation and test under the protocol {protocol}, got "
            f"{', '.join(f'{n} for {name}' for name, n in sizes.items())}; give more records"
        )
    return split


def _random(beats: EcgBeats, seed: int) -> BeatSplit:
    count = len(beats.labels)
    # by class, at random within each: what is spread evenly over this order, is so over the classes
    chance = np.random.default_rng(seed).permutation(count)
    order = chance[np.argsort(beats.labels[chance], kind="stable")]
    if set(np.unique(beats.records)) == {KAGGLE_TRAIN, KAGGLE_TEST}:
        in_test = beats.records[order] == KAGGLE_TEST
    else:
        in_test = _spread(round(count * _TEST / _SAMPLES), count)
    rest = order[~in_test]
    in_validation = _spread(round(len(rest) * _VALIDATION_SHARE), len(rest))
    test, validation, training = order[in_test], rest[in_validation], rest[~in_validation]
    patients = beats.patients
    if (patients == "").any():
        whom = "beats of patients who are not known, and may be the same, are"
    elif shared := set(patients[test]) & set(patients[~np.isin(np.arange(count), test)]):
        tested = len(set(patients[test]))
        whom = f"beats of {len(shared)} of the {tested} patients of the whole test set are also"
    else:
        whom = ""
    return BeatSplit(
        protocol="random",
        training=np.sort(training),
        validation=np.sort(validation),
        test=np.sort(test),
        left_out={},
        warning=whom
        and f"Protocol random: {whom} in training or validation. The results do not hold for new "
        f"patients; the protocol inter_patient measures those.",
    )


def _inter_patient(beats: EcgBeats, seed: int) -> BeatSplit:
    known = {*DS1, *DS2, *PACED}
    if unknown := sorted(set(beats.records.tolist()) - known):
        raise ValueError(
            f"expected records of the MIT-BIH Arrhythmia Database under the protocol "
            f"inter_patient, got {len(unknown)} others: {', '.join(unknown[:5])}; leave them out, "
            f"or use the protocol random"
        )
    index = np.arange(len(beats.labels))
    in_test = np.isin(beats.records, DS2)
    same_subject = beats.records == "201"
    in_ds1 = np.isin(beats.records, DS1) & ~same_subject
    validators = _fifth_of_patients(beats.patients[in_ds1], beats.labels[in_ds1], seed)
    in_validation = in_ds1 & np.isin(beats.patients, validators)
    split = BeatSplit(
        protocol="inter_patient",
        training=index[in_ds1 & ~in_validation],
        validation=index[in_validation],
        test=index[in_test],
        left_out={
            "paced record": int(np.isin(beats.records, PACED).sum()),
            "record 201, same subject as 202": int(same_subject.sum()),
        },
        warning="",
    )
    _check_no_shared_patient(beats, split)
    return split


def _fifth_of_patients(patients: Texts, labels: Ints, seed: int) -> list[str]:
    """Those whose beats come nearest to a fifth of each class, among many drawn at random."""
    names, owner = np.unique(patients, return_inverse=True)
    counts = np.zeros((len(names), len(CLASSES)))
    np.add.at(counts, (owner, labels), 1)
    shares = counts / np.maximum(counts.sum(axis=0), 1)
    rng = np.random.default_rng(seed)
    best, chosen = np.inf, names[:0]
    for _ in range(_DRAWS if len(names) > 1 else 0):
        order = rng.permutation(len(names))
        misses = np.abs(shares[order].cumsum(axis=0) - _VALIDATION_SHARE).sum(axis=1)[:-1]
        if misses.min() < best:
            best, chosen = misses.min(), names[order[: misses.argmin() + 1]]
    return [str(name) for name in chosen]


def _check_no_shared_patient(beats: EcgBeats, split: BeatSplit) -> None:
    learnt = np.concatenate([split.training, split.validation])
    shared = sorted(set(beats.patients[learnt].tolist()) & set(beats.patients[split.test].tolist()))
    if shared:
        patient = shared[0]
        where = sorted(set(beats.records[beats.patients == patient].tolist()))
        raise ValueError(
            f"expected no patient on two sides under the protocol inter_patient, got {len(shared)}, "
            f"like patient {patient} of the records {', '.join(where)} in DS1 and DS2; correct the "
            f"patients, or leave records out"
        )


def _spread(chosen: int, count: int) -> Mask:
    """Mark that many of ``count`` places, as evenly as can be."""
    return np.diff(np.arange(count + 1) * chosen // max(count, 1)).astype(bool)
