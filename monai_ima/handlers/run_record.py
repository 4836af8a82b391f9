"""What a training leaves of itself for those that come after it: ``run.json`` and ``config.json``."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import monai
import torch

import monai_ima
from monai_ima.data.content import contents
from monai_ima.data.same_samples import check_same_samples
from monai_ima.data.sample import SECTIONS
from monai_ima.data.tensors import TensorSamples
from monai_ima.distributed import by_first
from monai_ima.handlers.files import write_whole
from monai_ima.handlers.json_file import digest, write_json

RECORD, CONFIG = "run.json", "config.json"
OF_THE_BUNDLE = ("logging.conf", "metadata.json")  # MONAI looks for them beside the first config
_FORMAT = 1
# beside parts, classes and data; no resume accepts another value
_OF_THE_RUN = ("method", "seed", "batch_size", "sampling", "epoch_size")


@dataclass(frozen=True)
class Section:
    """The samples of one section, in their order.

    Attributes:
        ids: their names.
        contents: a digest of each one's content.
        patients: of each; empty where they are not known.
        fingerprint: digest of ids, labels and contents.
    """

    ids: list[str]
    contents: list[str]
    patients: list[str]
    fingerprint: str

    @classmethod
    def of(cls, samples: TensorSamples | Sequence[Mapping[str, Any]]) -> Section:
        """Of tensors, or of the items of a datalist, whose files are read."""
        items = samples.samples if isinstance(samples, TensorSamples) else samples
        ids = [str(item.get("id", item.get("image"))) for item in items]
        patients = [str(item.get("patient") or "") for item in items]
        digests = contents(samples)
        lines = "".join(
            f"{name}\t{item['label']}\t{digest}\n"
            for name, item, digest in zip(ids, items, digests, strict=True)
        )
        fingerprint = hashlib.sha256(lines.encode()).hexdigest()
        return cls(ids, digests, patients if all(patients) else [], fingerprint)


@dataclass(frozen=True)
class RunRecord:
    """What a run is: with what it trains a network, and on what.

    Attributes:
        settings: the plain settings of its config, by name.
        parts: what defines network, optimizer, objective, preprocessing and so on, by their names
            in the config, with plain values in place of references.
        classes: their names, in the order of the network's outputs.
        sections: the samples of training, validation and test; their fingerprints alone in
            processes but the first.
        versions: of what ran.
    """

    settings: dict[str, Any]
    parts: dict[str, Any]
    classes: list[str]
    sections: dict[str, Section]
    versions: dict[str, str]

    @classmethod
    def of(cls, settings: dict[str, Any], parts: dict[str, Any], datalist: Any) -> RunRecord:
        """Of a run that starts here, on a datalist with classes and the three sections.

        Of several processes the first one reads the samples, and the others are told fingerprints:
        they have no use for names, contents and patients.

        Raises:
            ValueError: if not all processes have the same samples: the same names and labels, and files
                of the same sizes.
            OSError: if a file of a sample cannot be read.
        """
        check_same_samples({name: getattr(datalist, name) for name in SECTIONS})
        versions = {
            "monai_ima": monai_ima.__version__,
            "torch": str(torch.__version__),
            "monai": monai.__version__,
            "python": platform.python_version(),
        }
        sections: dict[str, Section] = {}

        def read() -> dict[str, str]:
            sections.update({name: Section.of(getattr(datalist, name)) for name in SECTIONS})
            return {name: section.fingerprint for name, section in sections.items()}

        told = by_first(read)
        sections = sections or {name: Section([], [], [], print_) for name, print_ in told.items()}
        return cls(settings, parts, list(datalist.classes), sections, versions)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What must be the same when a run is resumed: another network would go on otherwise."""
        prints = {name: section.fingerprint for name, section in self.sections.items()}
        return {**self.parts, "classes": self.classes, "content of the data": prints}

    @cached_property
    def run(self) -> str:
        """SHA-256 of what makes it this run, however long it goes on; its weights carry it."""
        chosen = {name: self.settings.get(name) for name in _OF_THE_RUN}
        return digest({**self.identity, "settings": chosen})

    @property
    def is_split_by_patient(self) -> bool:
        """Whether the patients are known, and none is on two sides of training and test."""
        training, test = (self.sections[name].patients for name in ("training", "test"))
        return bool(training and test) and not set(training) & set(test)

    def write(self, folder: Path) -> None:
        """Replace ``run.json`` of a folder, in one step."""
        content = {"format": _FORMAT, **asdict(self)}
        write_json(folder / RECORD, content, indent=1)


class RunDescription:
    """What a training writes of itself when it starts: ``run.json``, and ``config.json``.

    The latter is the config with all that the command line changed in it, so that it takes the
    place of the bundle's ``train.json`` wherever the run is evaluated or resumed.

    Args:
        record: what the run is.
        config: the config.
    """

    def __init__(self, record: RunRecord, config: Mapping[str, Any]) -> None:
        self.record = record
        self.config = config

    @property
    def identity(self) -> dict[str, Any]:
        return self.record.identity

    def write(self, folder: Path) -> None:
        """Replace both files in a folder, and put the bundle's own beside them."""
        text = json.dumps(self.config, indent=2) + "\n"
        write_whole(folder / CONFIG, lambda path: path.write_text(text, encoding="utf-8"))
        for name in OF_THE_BUNDLE:
            source = Path(str(self.config.get("bundle_root"))) / name
            if source.is_file():
                write_whole(folder / name, partial(Path.write_bytes, data=source.read_bytes()))
        self.record.write(folder)


def read_record(folder: Path) -> RunRecord | None:
    """What :meth:`RunRecord.write` has left in a folder; nothing if it holds none.

    Raises:
        ValueError: if the file is damaged, or of another kind or version.
    """
    path = folder / RECORD
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # no UTF-8, no JSON
        raise _unreadable(path, f"a damaged file: {error}") from error
    if not isinstance(content, dict) or not {"format", "sha256", "sections"} <= content.keys():
        raise _unreadable(path, "a file of another kind")
    version = content.get("format")
    if version != _FORMAT:
        raise _unreadable(
            path,
            f"one of format {version!r}, where monai_ima {monai_ima.__version__} has {_FORMAT}",
        )
    if content.pop("sha256") != digest(content):
        raise _unreadable(path, "a file that was changed after the run had written it")
    content.pop("format")
    sections = {name: Section(**section) for name, section in content.pop("sections").items()}
    return RunRecord(sections=sections, **content)


def differences(old: Any, new: Any, name: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Where two trees of plain values differ: the name of the place, with what each has there.

    Lists and tuples are alike. What only one has is ``None`` in the other.
    """
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in [*new, *(key for key in old if key not in new)]:
            place = f"{name}#{key}" if name else str(key)
            yield from differences(old.get(key), new.get(key), place)
    elif isinstance(old, list | tuple) and isinstance(new, list | tuple) and len(old) == len(new):
        for at, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from differences(one, other, f"{name}#{at}")
    elif old != new:
        yield name, old, new


def _unreadable(path: Path, got: str) -> ValueError:
    return ValueError(
        f"expected {path} to be what a run has written of itself, got {got}; put a good copy in its "
        "place, or move it away: the weights are then evaluated as any others, of which nothing is "
        "known of what they were trained on"
    )
