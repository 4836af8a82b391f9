"""Names of weights: what wrappers of a network put before them, and how that is undone."""

from __future__ import annotations

from collections.abc import Collection, Iterable

# DistributedDataParallel, torch.compile, then what Lightning modules and our own Normalized use
_WRAPPERS = ("module.", "_orig_mod.", "network.", "model.", "net.")


def prefixes(own: Collection[str], names: Collection[str], prefix: str) -> tuple[str, str]:
    """What to replace in the names of a file, and by what, for them to be a network's.

    Args:
        own: names of the network.
        names: of the file.
        prefix: of the network's names in the file, beside what wrappers put there.
    """
    if all(prefix + name in names for name in own):
        return prefix, ""
    below = [name.removeprefix(prefix) for name in names if name.startswith(prefix)]
    return prefix + _wrapping(below), _wrapping(own)


def fitting_prefixes(own: Collection[str], names: Collection[str]) -> list[str]:
    """Below which prefixes of a file all names are that a network needs."""
    mine = _wrapping(own)
    needed = [name.removeprefix(mine) for name in own if is_needed(name)]
    candidates = [
        name.removesuffix(first)
        for first in needed[:1]
        for name in names
        if name.endswith(f".{first}")
    ]
    return [prefix for prefix in candidates if all(prefix + name in names for name in needed)]


def prefixes_near(prefix: str, names: Collection[str]) -> list[str]:
    """Which prefixes there are from where on a wrong one differs from all."""
    known = ""
    while has(names, longer := prefix[: prefix.index(".", len(known)) + 1]):
        known = longer
    rests = [name.removeprefix(known) for name in names if name.startswith(known)]
    heads = dict.fromkeys(rest[: rest.index(".") + 1] for rest in rests if "." in rest)
    return [known + head for head in heads]


def has(names: Iterable[str], prefix: str) -> bool:
    """Whether any name has a prefix."""
    return any(name.startswith(prefix) for name in names)


def is_needed(name: str) -> bool:
    """Whether an evaluation uses it, unlike batch norm's count of batches, which many files lack."""
    return last(name) != "num_batches_tracked"


def last(name: str) -> str:
    """Without the modules that it is in."""
    return name.rpartition(".")[2]


def _wrapping(names: Collection[str]) -> str:
    """The prefix, of wrappers alone, that all names share."""
    prefix = ""
    while True:
        rests = {name.removeprefix(prefix) for name in names if name.startswith(prefix)}
        heads = {rest[: rest.find(".") + 1] for rest in rests - {"n_averaged"}}
        # torch.optim.swa_utils.AveragedModel has n_averaged beside its module.
        known = _WRAPPERS[:1] if "n_averaged" in rests else _WRAPPERS
        if len(heads) != 1 or not heads.issubset(known):
            return prefix
        prefix += heads.pop()
