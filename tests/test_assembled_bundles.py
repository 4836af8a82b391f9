"""The files of the bundles are those that their sources make."""

import json
import sys

import pytest
from bundle_run import ROOT

sys.path.insert(0, str(ROOT / "scripts"))
from assemble_bundles import BUNDLES, LAYERS, SOURCES, assembled


@pytest.mark.parametrize("file", LAYERS)
def test_a_file_is_what_its_sources_make(file):
    said = f"change bundle_sources, not bundles/{file}, and run python scripts/assemble_bundles.py"
    assert (BUNDLES / file).read_text("utf-8") == assembled(LAYERS[file]), said


def test_every_file_is_assembled_and_every_source_used():
    files = {path for name in ("train", "evaluate") for path in BUNDLES.glob(f"*/{name}.json")}
    assert files == {BUNDLES / file for file in LAYERS}
    used = {SOURCES / layer for layers in LAYERS.values() for layer in layers}
    assert used == set(SOURCES.glob("*/*.json"))


def test_a_new_key_follows_the_one_before_it_in_its_source_and_others_keep_their_place(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("assemble_bundles.SOURCES", tmp_path)
    common = {"first": None, "settings": {"a": 1}, "handlers": ["x"], "last": 0}
    own = {"own": 1, "first": 2, "second": 3, "+settings": {"b": 4}, "third": 5}
    own |= {"settings::a": 6, "+handlers": ["y"]}
    for name, config in (("common", common), ("own", own)):
        (tmp_path / f"{name}.json").write_text(json.dumps(config))
    made = json.loads(assembled(["common.json", "own.json"]))
    assert list(made) == ["own", "first", "second", "settings", "third", "handlers", "last"]
    assert made["settings"] == {"a": 6, "b": 4}
    assert made["handlers"] == ["x", "y"]


def test_what_is_written_by_hand_is_short():
    written = [*SOURCES.glob("*/*.json"), *BUNDLES.glob("objectives/*.json")]
    written += BUNDLES.glob("*/paper.json")
    assert sum(path.read_text().count("\n") for path in written) < 700
    scale = BUNDLES.glob("scale/*.json")
    assert 0 < sum(path.read_text().count("\n") for path in scale) < 25
