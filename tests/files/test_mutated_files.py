"""Ten thousand spoilt files: read as they are, or refused by name; none ends the interpreter."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from kinds import KINDS

SCRIPT = Path(__file__).parent / "try_mutants.py"
SECONDS = 900


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """How each mutant ended, by its kind."""
    output = tmp_path_factory.mktemp("mutants") / "answers.json"
    command = [sys.executable, "-W", "ignore", SCRIPT, output]
    ended = subprocess.run(
        command,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    return json.loads(output.read_text())


def test_there_are_ten_thousand():
    assert sum(kind.trials for kind in KINDS.values()) >= 10_000


@pytest.mark.parametrize("name", KINDS)
def test_each_is_read_as_it_is_or_refused_by_name(answers, name):
    ends = Counter(answer["outcome"] for answer in answers[name])
    wrong = [each for each in answers[name] if each["outcome"] not in ("accepted", "refused")]
    assert not wrong, (ends, wrong[:3])
    assert sum(ends.values()) == KINDS[name].trials
    assert ends["refused"]
