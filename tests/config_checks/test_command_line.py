"""Words of which a # would take the end."""

import sys

import monai.bundle
import pytest
from fire.parser import DefaultParseValue

from monai_ima.cli.settings import settings_values
from monai_ima.config_checks.command_line import cut_short, typed_words
from monai_ima.errors import RejectedError


@pytest.mark.parametrize("words", [("--dir", "run#1"), ("--dir=run#1",), ("--dir", "2024 # 5")])
def test_a_setting_that_is_cut_short_is_named_with_what_is_not(words):
    (said,) = cut_short(("run", *words, "--other", "3"))
    assert said.startswith("expected dir without a #")
    _, _, advice = said.partition("like ")
    whole = DefaultParseValue(advice[1:-1])  # without the shell's quotes
    assert eval(whole[1:]) == words[-1].removeprefix("--dir=")


@pytest.mark.parametrize(
    "words",
    [
        ("--dir", "runs/e#1"),  # no name in Python: MONAI's own :: is another matter
        ("--dir", "'run#1'"),
        ("--part#dir", "run"),
        ("--part#dir=run",),
        ("--dir", r"$'run\x231'"),
        ("--flag", "--part#dir", "3"),
    ],
)
def test_others_are_not(words):
    assert list(cut_short(words)) == []


def test_settings_of_our_commands_too():
    with pytest.raises(RejectedError, match="expected dataset_dir without a #, got 'data#1'"):
        settings_values(["--dataset_dir", "data#1"])


def test_words_are_those_of_monais_command_alone(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/usr/bin/another", "--dir", "run#1"])
    assert list(typed_words()) == []
    command = monai.bundle.__file__.replace("__init__", "__main__")
    monkeypatch.setattr(sys, "argv", [command, "--dir", "run#1"])
    assert list(typed_words()) == ["--dir", "run#1"]
