"""Random generators that depend on names, not on what was drawn before."""

from __future__ import annotations

import hashlib

import torch


def seeded(*names: object) -> torch.Generator:
    """A generator that these names determine, a seed and the number of a sample, say.

    What is drawn for a sample is then the same whatever batch it is in, and whether a run was
    interrupted before it or not.
    """
    # A hash, since torch's generator on the CPU takes only 32 bits of a seed.
    digest = hashlib.sha256("/".join(map(str, names)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:4], "big"))
