"""A bundle of the user's own."""

import json
import re

import pytest
from bundle_run import ROOT
from monai.bundle import ConfigParser

from monai_ima import __version__
from monai_ima.cli.main import main
from monai_ima.errors import RejectedError
from monai_ima.installed_bundles import bundle_names
from monai_ima.new_bundle import new_bundle


@pytest.mark.parametrize("source", bundle_names())
def test_it_differs_in_its_folders_alone(tmp_path, source):
    folder = new_bundle(tmp_path / "my_study", source)

    changed = {}
    for path in (ROOT / "bundles" / source).glob("*.json"):
        if path.name == "metadata.json":
            continue
        lines = (text.read_text().splitlines() for text in (path, folder / path.name))
        changed |= {old.strip(): new.strip() for old, new in zip(*lines, strict=True) if old != new}
    own = {new.split(": ")[0]: new for new in changed.values()}
    trained = source != "robustness_evaluation"
    assert len(changed) == len(own) == (2 if trained else 1)
    assert ("runs/my_study_" if trained else '"runs/my_study"') in own['"output_dir"']
    if trained:
        assert own['"bundle_root"'] == f'"bundle_root": "{folder}",'
    metadata = json.loads((folder / "metadata.json").read_text())
    assert metadata["required_packages_version"]["monai-ima"] == __version__
    page = (folder / "docs" / "README.md").read_text()
    assert page.startswith("# Bundle `my_study`\n")
    assert "](../" not in page
    assert f"bundles/{source}" not in page
    assert (folder / "scale" / "multi_gpu_evaluate.json").exists()
    assert (folder / "objectives" / "ce.json").exists() == (folder / "train.json").exists()


@pytest.mark.parametrize(
    ("name", "source", "said"),
    [
        ("there", "oct_ima", "expected a new folder, got"),
        ("my study", "oct_ima", "expected a name of letters, digits, '_', '-' and '.'"),
        ("mine", "cxr_ima", "expected a bundle among ecg_ima, fashion_mnist_ima, "),
    ],
)
def test_what_cannot_be_written_is_rejected(tmp_path, name, source, said):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "notes.txt").touch()

    with pytest.raises(RejectedError, match=re.escape(said)):
        new_bundle(tmp_path / name, source)

    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_the_command_says_how_to_run_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    main(["new", "my_study", "--from", "moons_ima"])

    assert (
        "python -m monai.bundle run --config_file my_study/train.json\n" in capsys.readouterr().out
    )


def test_its_command_can_be_copied_where_its_folder_has_a_blank(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    main(["new", "our studies/moons", "--from", "moons_ima"])

    assert "--config_file 'our studies/moons/train.json'\n" in capsys.readouterr().out


def test_settings_are_put_where_they_belong(tmp_path):
    settings = {
        "eps_max": 0.3,
        "noise_levels": [0, 0.1],
        "norm": "l2",
        "network_def": {"_target_": "x.Net"},
        "optimizer#lr": 0.5,
        "optimizer#weight_decay": 0.01,
    }
    folder = new_bundle(tmp_path / "mine", "oct_ima", settings)

    text = (folder / "train.json").read_text()
    plain = (new_bundle(tmp_path / "plain", "oct_ima") / "train.json").read_text()
    config, unchanged = json.loads(text), json.loads(plain)
    assert settings.items() <= config.items()
    differing = {name for name in config if config[name] != unchanged.get(name)}
    assert differing == {*settings, "bundle_root", "output_dir"}
    # nested ones come last, for MONAI sets one after the other
    assert list(config)[-2:] == ["optimizer#lr", "optimizer#weight_decay"]
    parser = ConfigParser()
    parser.read_config(folder / "train.json")
    assert parser["optimizer"]["lr"] == 0.5
    assert parser["optimizer"]["weight_decay"] == 0.01
    levels = json.loads((folder / "evaluate.json").read_text())["evaluation_levels"]
    assert levels["l2"] == "@noise_levels"
    assert levels["linf"].startswith("$monai_ima.bundle.linf_levels(")


def test_an_evaluation_keeps_its_levels_in_the_other_norm(tmp_path):
    folder = new_bundle(tmp_path / "mine", "ecg_ima", {"noise_levels": [0, 0.1]})

    levels = json.loads((folder / "evaluate.json").read_text())["evaluation_levels"]
    assert levels == {"linf": "@noise_levels", "l2": [0, 0.05, 0.15, 0.25, 0.5, 1, 1.5]}
