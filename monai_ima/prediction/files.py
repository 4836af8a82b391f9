"""Predictions as tables: for a spreadsheet, and for a program."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_ima.handlers.files import write_whole
from monai_ima.handlers.tables import write_table
from monai_ima.prediction.predictor import ChangedAnswer, Prediction
from monai_ima.prediction.reference import ReferenceMargins
from monai_ima.report import Units

CSV, JSON = "predictions.csv", "predictions.json"
NOT_FOR_CLINICAL_USE = "For research; not for clinical use."


def write_predictions(
    folder: Path,
    predictions: Sequence[Prediction],
    *,
    class_names: Sequence[str],
    reference: ReferenceMargins,
    norms: Sequence[str],
    units: Mapping[str, Any] | None,
    errors: Mapping[str, str] | None = None,
) -> list[Path]:
    """Write ``predictions.csv``, the same as ``predictions.xlsx``, and ``predictions.json``.

    Args:
        folder: made if need be; files of those names are replaced.
        predictions: a row each.
        class_names: in the order of the probabilities.
        reference: margins among which percentiles are.
        norms: of the margins.
        units: of the data, ``name`` and ``per_unit``, in which a margin is said, too: in Linf of each
            value, in L2 the root mean square over the values; ``None`` where they are not known.
        errors: by name, why a case has no prediction; a row each, behind the others.

    Returns:
        The files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    cases: list[dict[str, Any]] = []
    for prediction in predictions:
        case = {
            "id": prediction.id,
            "prediction": class_names[prediction.label],
            "probability": float(prediction.probabilities[prediction.label]),
            "probabilities": dict(zip(class_names, prediction.probabilities.tolist(), strict=True)),
        }
        known = None if units is None else Units(**units, values=prediction.inputs.numel())
        for norm, changed in prediction.changed.items():
            case |= _said(norm, changed, class_names, known)
        cases.append({**case, "warning": prediction.warning or None, "error": None})
    cases += [{"id": name, "error": reason} for name, reason in (errors or {}).items()]
    content = {
        "note": NOT_FOR_CLINICAL_USE,
        "classes": list(class_names),
        "norms": list(norms),
        "margin": f"smallest change found that changes the answer, by the protocol "
        f"{reference.protocol.name}: {reference.protocol.description}",
        "percentile": f"among the margins of {reference.source}",
        "units": None if units is None else units["name"],
        "cases": cases,
    }
    table, record = folder / CSV, folder / JSON
    text = json.dumps(content, indent=2)
    write_whole(record, lambda path: path.write_text(text + "\n", encoding="utf-8"))
    names = _columns(class_names, norms, units)
    rows = [{name: _cell(row.get(name)) for name in names} for row in map(_flat, cases)]
    return [*write_table(table, rows), record]


def _said(
    norm: str, changed: ChangedAnswer, class_names: Sequence[str], units: Units | None
) -> dict[str, Any]:
    found = math.isfinite(changed.margin)
    after = class_names[int(changed.probabilities.argmax())]
    said: dict[str, Any] = {
        f"margin_{norm}": changed.margin if found else None,
        f"percentile_{norm}": round(changed.percentile, 2),
        f"changes_to_{norm}": after if found else None,
    }
    if units is not None:
        size = units.each(changed.margin, norm)
        # to six digits, not decimals: a margin that is small is not 0
        said[f"{units.column}_{norm}"] = float(f"{size:.6g}") if found else None
    return said


def _columns(
    class_names: Sequence[str], norms: Sequence[str], units: Mapping[str, Any] | None
) -> list[str]:
    in_units = [] if units is None else [Units(**units, values=1).column]
    of_norm = ["margin", "percentile", "changes_to", *in_units]
    return [
        *("id", "prediction", "probability"),
        *(f"probability of {name}" for name in class_names),
        *(f"{name}_{norm}" for norm in norms for name in of_norm),
        "warning",
        "error",
    ]


def _flat(case: Mapping[str, Any]) -> dict[str, Any]:
    probabilities = case.get("probabilities", {})
    return {**case, **{f"probability of {name}": p for name, p in probabilities.items()}}


def _cell(value: Any) -> Any:
    return "" if value is None else value
