"""What a command has left in a folder."""

import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def left(folder):
    """All that a command has left in a folder: the content of each file, and of all events.

    But for what it has set aside: killed before its first checkpoint, it starts anew.
    """
    files = [
        path
        for path in folder.rglob("*")
        if path.is_file() and not path.relative_to(folder).parts[0].startswith("previous-")
    ]
    events = [path for path in files if path.name.startswith("events.out.tfevents.")]
    found = {
        str(path.relative_to(folder)): (
            # the archive holds the name that the file had while it was written
            torch.load(path, weights_only=True) if path.suffix == ".pt" else path.read_bytes()
        )
        for path in files
        if path not in events
    }
    return found | {"events": logged(folder)}


def logged(folder):
    """By kind and tag, the steps and values that TensorBoard shows."""
    log = EventAccumulator(str(folder), {"scalars": 0, "images": 0, "tensors": 0, "histograms": 0})
    log.Reload()
    read = {
        "scalars": log.Scalars,
        "images": log.Images,
        "histograms": log.Histograms,
        "tensors": log.Tensors,
    }
    return {
        f"{kind} {tag}": [vars(event) | {"wall_time": None} for event in events(tag)]
        for kind, events in read.items()
        for tag in sorted(log.Tags()[kind])
    }
