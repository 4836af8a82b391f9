"""The pages of the documentation: their files, their Python and their commands."""

import json
import re
import shlex
import sys
import traceback
from pathlib import Path
from typing import NamedTuple

from monai.bundle import ConfigParser
from undrawn import leave_undrawn

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(
    path
    for pattern in ("README.md", "CONTRIBUTING.md", "docs/**/*.md", "bundles/*/docs/README.md")
    for path in ROOT.glob(pattern)
)
IDS = [str(page.relative_to(ROOT)) for page in PAGES]
# `name.py`: before a fence with a language names the file that it is.
_FENCE = re.compile(
    r"(?:`([\w./]+)`:\n\n(?=```\w))?^```(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL
)

# A page has RUN for the folder of a run; without another the bundle's own.
_OWN_RUN = r"runs/\1/config.json','bundles/\1/"


class Fence(NamedTuple):
    """What a page has between fences, and the name of the file that it is, if it has one."""

    name: str
    language: str
    text: str


def fences(page: Path) -> list[Fence]:
    return [Fence(*found) for found in _FENCE.findall(page.read_text())]


def commands(page: Path) -> list[list[str]]:
    """The words of each command, without ``[--SETTING VALUE ...]`` and variables before it."""
    texts = [fence.text for fence in fences(page) if not fence.language]
    lines = "".join(texts).replace("\\\n", " ").splitlines()
    parts = [part for line in lines for part in re.split(r" && ", line)]
    plain = [re.sub(r"^[A-Z_]+=\S+|\[--[^\]]*\]", "", part) for part in parts]
    runs = [re.sub(r"RUN/config\.json','bundles/(\w+)/", _OWN_RUN, part) for part in plain]
    return [words for part in runs if (words := shlex.split(part, comments=True))]


def bundle_run(words: list[str]) -> dict[str, str] | None:
    """The settings of a MONAI command, by name; ``None`` if it is another command."""
    if words[:4] != ["python", "-m", "monai.bundle", "run"]:
        return None
    names = [name.removeprefix("--") for name in words[4::2]]
    return dict(zip(names, words[5::2], strict=True))


def config_files(run: dict[str, str]) -> list[str]:
    return re.findall(r"[\w./-]+\.json", run["config_file"])


def write_files(page: Path, folder: Path) -> None:
    """Write the files that a page has under a name."""
    for fence in fences(page):
        if fence.name:
            path = folder / fence.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(fence.text)


def settings_of(files: list[Path]) -> dict[str, object]:
    """The settings that a config has at its top."""
    return ConfigParser.load_config_files([str(path) for path in files])


def _run_all(jobs: list[list[str]]) -> list[str]:
    """What went wrong with each MONAI command; in one process, which imports MONAI once."""
    import fire
    import pytest
    from monai.bundle import run

    leave_undrawn(pytest.MonkeyPatch())
    sys.path[0] = str(Path.cwd())  # as python -m has it
    wrong = []
    for words in jobs:
        try:
            fire.Fire({"run": run}, command=words[3:])
            wrong.append("")
        except BaseException:  # noqa: BLE001, PERF203  SystemExit is how fire fails
            wrong.append(traceback.format_exc())
    return wrong


if __name__ == "__main__":
    request, answer = map(Path, sys.argv[1:])
    answer.write_text(json.dumps(_run_all(json.loads(request.read_text()))))
