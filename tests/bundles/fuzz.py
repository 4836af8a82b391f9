"""Settings as nobody should give them, and what a bundle makes of them before its first iteration."""

import contextlib
import copy
import io
import json
import math
import shutil
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

from bundle_run import ROOT
from monai.bundle import ComponentLocator, ConfigParser

BUNDLES = ROOT / "bundles"
SMALL = {"device": "cpu", "eval_steps": 2, "attack_steps": 2, "margin_steps": 2}
_EXPRESSIONS = ("imports", "evaluation_imports", "initialize", "run")
LOCATOR = ComponentLocator()  # of which each parser would make its own
VALUES = [
    *(0, 1, 2, 3, -1, 7, 1000, 10**12, 10**400, 1.0, 0.5, 1.5, 0.02, -0.1, 1e3, 1e308, -1e308),
    *(math.nan, math.inf, -math.inf, True, False, None, "", " ", "x", "true", "yes", "None"),
    *("1e3", "nan", "linf", "l2", "Linf", "l3", "shuffled", "balancd", "paper", "screen", "cpu"),
    *("cuda:99", "meta", "../..", "a\0b", "ä" * 5000, "(", "(?P<patient>", "$None", "$1 / 0", "$("),
    *("$nowhere", "@nowhere", "@seed", "@max_epochs", "$@seed + 1", "$float('nan')", "$'x' * 3"),
    *([], [0], [0, 0], [8, 8], [1, 1], [8, 8, 8], [8, -8], [8, 8.5], [10**6, 10**6], ["a", "b"]),
    *(
        [0, 0.1],
        [0.1, 0],
        [0, 0.5, 2],
        [0, math.nan],
        [0.7, 0.15, 0.15],
        [1, 0, 0],
        [0.5, 0.5, 0.5],
    ),
    *([math.nan, 0.5, 0.5], [[0, 1]], (0, 1), (1, 0), (0.6, 0.2, 0.2), {}, {"linf": [0, 0.1]}),
    *(
        {"l3": [0, 0.1]},
        {"linf": 3},
        {"a": 1},
        {"_target_": "nowhere"},
        {"_target_": "torch.nn.Relu"},
    ),
    *({"_target_": "torch.nn.Flatten"}, {"_target_": "torch.nn.Linear"}, {"_target_": 5}),
]


@dataclass
class Trial:
    """A bundle's config with settings changed.

    ``outcome`` is "accepted", "refused", or "monai" where MONAI refuses while it reads the command
    line, which no config can change.
    """

    bundle: str
    changes: dict
    outcome: str = ""
    said: str = ""
    values: dict | None = None
    left: tuple[str, ...] = ()


def mutated(name, draw):
    """A name as it is mistyped."""
    place = draw.randrange(len(name))
    letter = draw.choice("abcdefghijklmnopqrstuvwxyz_")
    return draw.choice(
        [
            name[:place] + name[place + 1 :],
            name[:place] + letter + name[place:],
            name[:place] + letter + name[place + 1 :],
            name[: place - 1] + name[place - 1 : place + 1][::-1] + name[place + 1 :],
            name + "s",
            name.replace("_", ""),
        ]
    )


def changed(config, draw):
    """One or two changes of a config, by the name that a user gives on the command line."""
    plain = [
        name
        for name, value in config.items()
        if name not in _EXPRESSIONS and not (isinstance(value, dict) and "linf" not in value)
    ]
    sections = [name for name in config if name not in (*plain, *_EXPRESSIONS)]
    parts = [id_ for id_, part in below(config) if "_target_" in part or "::" in id_]
    changes = {}
    for _ in range(draw.choice((1, 1, 1, 2))):
        kind = draw.random()
        if kind < 0.6:
            changes[draw.choice(plain)] = draw.choice(VALUES)
        elif kind < 0.7:
            changes[mutated(draw.choice(plain), draw)] = draw.choice(VALUES)
        elif kind < 0.75:
            changes[draw.choice(sections)] = draw.choice(VALUES)
        else:
            part = draw.choice(parts)
            content = dict(below(config))[part]
            key = draw.choice(list(content))
            if kind < 0.88:
                key = mutated(key, draw)
            changes[f"{part}::{key}"] = draw.choice(VALUES)
    return changes


def below(config, id_=""):
    """All dictionaries of a config, by their ids."""
    for key, value in config.items():
        inner = f"{id_}::{key}" if id_ else key
        if isinstance(value, dict):
            yield inner, value
            yield from below(value, inner)


def tried(bundle, config, changes, folder):
    """What a bundle makes of changed settings, in a folder that holds a good run."""
    trial = Trial(bundle, changes)
    before = tree(folder)
    parser = ConfigParser(copy.deepcopy(config))
    parser.locator = LOCATOR
    try:
        parser.update(copy.deepcopy(changes))
    except Exception as error:  # noqa: BLE001  whatever it is
        trial.outcome, trial.said = "monai", f"{type(error).__name__}: {error}"
        return trial
    stderr = io.StringIO()
    hook = sys.excepthook
    try:
        with contextlib.redirect_stderr(stderr), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                for place in range(len(parser["initialize"])):
                    parser.get_parsed_content(f"initialize::{place}")
                trial.outcome = "initialized"
                last = "evaluator" if "evaluator" in config else "train::trainer"
                parser.get_parsed_content(last)
            except Exception:  # noqa: BLE001  whatever it is
                sys.excepthook(*sys.exc_info())
                trial.said = stderr.getvalue().rstrip().splitlines()[-1]
                trial.outcome = "refused" if trial.outcome == "" else "refused late"
            else:
                trial.outcome = "accepted"
                items = parser.ref_resolver.resolved_content
                trial.values = {name: items.get(name, changes[name]) for name in changes}
    finally:
        sys.excepthook = hook
        writer = parser.ref_resolver.resolved_content.get("writer")
        if hasattr(writer, "close"):
            writer.close()
    after = tree(folder)
    # a command that still runs, as this one does, keeps its lock
    trial.left = tuple(sorted(name for name in set(after) ^ set(before) if ".lock" not in name))
    if after != before:
        restore(folder, before)
    return trial


def tree(folder):
    """All that is in a folder, by its path: the content of files, nothing of folders."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(Path(folder).rglob("*"))
    }


def restore(folder, content):
    for path in Path(folder).iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for name, text in content.items():
        path = Path(folder) / name
        if text is None:
            path.mkdir(parents=True, exist_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text)


def config_of(bundle, *files, **settings):
    config = {}
    for file in files:
        config |= json.loads((BUNDLES / bundle / file).read_text())
    return config | SMALL | settings
