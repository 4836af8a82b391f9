"""Whether an evaluation is of a run's own model, as it was trained, on what it was not trained on."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from monai_ima.handlers.run_record import RECORD, RunRecord, Section, differences
from monai_ima.handlers.state_file import is_readable
from monai_ima.networks.sealed_file import writing_run

_logger = logging.getLogger(__name__)


def check_own(record: RunRecord, weights: Path, folder: Path) -> None:
    """See that weights in the folder of a run are those that the run has written.

    Of a file that does not say by which run it was written, as of an earlier version or another
    program, the log says so. What is missing or damaged is left to what reads the weights.

    Args:
        record: of the run.
        weights: their file.
        folder: of the run.

    Raises:
        ValueError: if another run has written them, naming both.
    """
    if not is_readable(weights):
        return
    run = writing_run(weights)
    if run is None:
        _logger.warning(
            "%s does not say which run has written it: it is taken for that of %s, with its settings "
            "and its data; see to it that it is",
            weights,
            folder / RECORD,
        )
    elif run != record.run:
        raise ValueError(
            f"expected {weights} to be of the run beside it, {record.run[:12]} ({folder / RECORD}), "
            f"got weights of another run, {run[:12]}; evaluate them in the folder of that run, or put "
            "this one's own back"
        )


def check_same(record: RunRecord, now: Mapping[str, Any], advice: str) -> None:
    """See that settings and parts are those with which a network was trained.

    Args:
        record: of the training.
        now: those of the evaluation, by the names that they have in the config; ``None`` where it
            has none. What the training did not know is not compared.
        advice: what to do otherwise.

    Raises:
        ValueError: naming each that differs, with both values.
    """
    trained = {**record.settings, **record.parts, "classes": record.classes}
    common = [name for name in now if name in trained and now[name] is not None]
    different = list(differences({n: trained[n] for n in common}, {n: now[n] for n in common}))
    if different:
        each = "; ".join(f"{name} {old!r}, got {new!r}" for name, old, new in different)
        raise ValueError(f"expected what the network was trained with, {each}; {advice}")


def check_unseen(
    record: RunRecord,
    evaluated: Section,
    *,
    trained_on: Iterable[str],
    other_data: bool,
    advice: str,
) -> None:
    """See that no sample of an evaluation is one that the model has learned from or was chosen by.

    A test sample of the run itself whose content is that of a training sample, as public data sets
    have them, is no reason to reject; that there are some is logged as a warning.

    Args:
        record: of the training.
        evaluated: the samples of the evaluation.
        trained_on: the sections of the training that may not be among them.
        other_data: names are no sign, neither of samples nor of patients: the data set is another.
        advice: what to do otherwise.

    Raises:
        ValueError: naming a sample, or a patient where the run has none on two sides.
    """
    own_test = set(zip(record.sections["test"].ids, record.sections["test"].contents, strict=True))
    twins = []
    for name in trained_on:
        seen = record.sections[name]
        by_content = dict(zip(seen.contents, seen.ids, strict=True))
        ids = set() if other_data else set(seen.ids)
        for id_, content in zip(evaluated.ids, evaluated.contents, strict=True):
            if id_ in ids:
                found = f"{id_}, which is one"
            elif content not in by_content:
                continue
            elif (id_, content) in own_test:
                twins.append((id_, by_content[content]))
                continue
            else:
                found = f"{id_}, whose content is that of {by_content[content]}"
            raise ValueError(f"expected no {name} sample of this model, got {found}; {advice}")
        if record.is_split_by_patient and not other_data:
            shared = sorted(set(evaluated.patients) & set(seen.patients))
            if shared:
                raise ValueError(
                    f"expected no patient of the {name} samples of this model, got {len(shared)}, "
                    f"like {shared[0]}; {advice}"
                )
    if twins:
        _logger.warning(
            "%d test samples have the content of samples that the model was trained on or chosen "
            "by, like %s that of %s: the data set holds them twice",
            len(twins),
            *twins[0],
        )
