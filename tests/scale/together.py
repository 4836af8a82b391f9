"""Small trainings by one process and by several, which should come to the same.

``python together.py PROCESSES FOLDER`` makes each of :data:`CASES` once in one process and once in that
many, and leaves what each process has come to in ``FOLDER/one.pt``, ``FOLDER/0.pt``, ``FOLDER/1.pt``, ...
All are forked from one that has imported what they need.
"""

import logging
import multiprocessing.connection
import os
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from ignite.metrics import Accuracy
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator
from monai.handlers import from_engine
from torch import nn

from monai_ima import distributed
from monai_ima.data import SharedBatches, TensorSamples, batches, share_of_samples
from monai_ima.engines import RobustTrainer
from monai_ima.handlers import (
    EpochSeedHandler,
    MarginUpdateHandler,
    RobustnessCurveHandler,
    ValidateAtEnd,
)
from monai_ima.margins import MarginStore
from monai_ima.networks import DistributedNetwork
from monai_ima.objectives import (
    IAAT,
    IMA,
    MMA,
    TRADES,
    CrossEntropy,
    DDNAdversarial,
    StandardAdversarial,
)

CLASSES, LENGTH, BATCH, EPOCHS = 3, 6, 8, 2


@dataclass(frozen=True)
class Case:
    """A training.

    Attributes:
        objective: by its name in ``bundles/objectives``.
        norm_layer: of the network: ``"batch"``, ``"instance"`` or none.
        samples: of training; the last batch of 8 has one where there are 17.
        sampling: of the batches.
        as_list: a MONAI ``DataLoader`` of a list of samples, in place of tensors.
        one_sided: every other sample is misclassified, so that of two processes one has no correct
            sample in any batch.
        accumulation: batches that share a step.
    """

    objective: str
    norm_layer: str = ""
    samples: int = 23
    sampling: str = "shuffled"
    as_list: bool = False
    one_sided: bool = False
    accumulation: int = 1

    def __str__(self):
        return "-".join(str(value) for value in vars(self).values() if value not in ("", False))


OBJECTIVES = ("ce", "adv", "ddn", "iaat", "trades", "mma", "ima", "ima_step")
CASES = [
    *(Case(name, norm) for name in OBJECTIVES for norm in ("batch", "instance")),
    *(Case(name, "batch", samples=17, sampling="balanced") for name in ("ima", "mma", "iaat")),
    *(Case(name, norm, 17) for name in ("ima", "mma", "iaat") for norm in ("", "batch")),
    *(Case(name, "batch", 22, "sequential", one_sided=True) for name in OBJECTIVES),
    *(Case(name, "instance", samples=17, as_list=True) for name in ("ce", "ima")),
    Case("ima", "batch", accumulation=2),
]


def make_objective(name, samples):
    common = {"norm": "l2" if name == "ddn" else "linf", "steps": 3, "bounds": (-4.0, 4.0)}
    store = MarginStore(samples, delta=0.05, eps_max=0.4)
    match name:
        case "ce":
            return CrossEntropy()
        case "ddn":
            return DDNAdversarial(**common, eps=0.3)
        case "trades":
            return TRADES(**common, eps=0.2)
        case "ima":
            return IMA(store, **common, beta=0.5, margin_steps=3, bisections=4)
        case "ima_step":
            return IMA(store, **common, beta=0.5, bisections=4, margin_update="step")
        case "adv":
            return StandardAdversarial(**common, eps=0.2)
        case "iaat":
            return IAAT(samples, **common, eps=0.2, gamma=0.05, beta=0.5, warmup=1)
        case "mma":
            return MMA(store, **common, bisections=4)


def make_network(case):
    def norm(channels):
        match case.norm_layer:
            case "batch":
                return nn.BatchNorm1d(channels)
            case "instance":
                return nn.InstanceNorm1d(channels, affine=True)
        return nn.Identity()

    network = nn.Sequential(
        nn.Conv1d(1, 5, 3), norm(5), nn.Tanh(), nn.Flatten(), nn.Linear(20, 8), nn.Tanh(),
        nn.Linear(8, CLASSES),
    )  # fmt: skip
    if case.one_sided:  # all are of the first class
        nn.init.constant_(network[-1].bias, 0.0)
        with torch.no_grad():
            network[-1].bias[0] = 3.0
    return network.double()


def make_samples(case, count, seed):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(CLASSES, (count,), generator=generator)
    if case.one_sided:
        labels = torch.arange(count) % 2
    inputs = torch.randn(count, 1, LENGTH, generator=generator).double().clamp(-1, 1)
    inputs[:, 0, :CLASSES] += 3 * nn.functional.one_hot(labels, CLASSES)
    return TensorSamples(inputs, labels, ids=[str(i) for i in range(count)])


def make_loader(case, samples, *, sampling):
    if not case.as_list:
        return batches(samples, BATCH, sampling=sampling)
    every = samples[torch.arange(len(samples))]
    items = [dict(zip(every, row, strict=True)) for row in zip(*every.values(), strict=True)]
    return DataLoader(Dataset(items), batch_size=BATCH, shuffle=sampling == "shuffled")


def train(case):
    """What a training comes to, in this process."""
    torch.manual_seed(1)
    network, device = make_network(case), torch.device("cpu")
    samples, validation = make_samples(case, case.samples, 2), make_samples(case, 13, 3)
    objective = make_objective(case.objective, len(samples))
    loader = make_loader(case, samples, sampling=case.sampling)
    evaluation_loader = make_loader(case, validation, sampling="sequential")
    trained = network
    if distributed.processes() > 1:
        trained = DistributedNetwork(network)
        loader, evaluation_loader = SharedBatches(loader), share_of_samples(evaluation_loader)
    curve = RobustnessCurveHandler(
        [0.1, 0.3], "linf", protocol="paper", steps=2, restarts=1, bounds=(-9, 9)
    )
    evaluator = SupervisedEvaluator(
        device=device,
        val_data_loader=evaluation_loader,
        network=network,
        key_val_metric={"accuracy": Accuracy(output_transform=from_engine(["pred", "label"]))},
        val_handlers=[curve],
    )
    margin_update = MarginUpdateHandler(
        objective, make_loader(case, samples, sampling="sequential")
    )
    trainer = RobustTrainer(
        objective=objective,
        device=device,
        max_epochs=EPOCHS,
        train_data_loader=loader,
        network=trained,
        optimizer=torch.optim.SGD(
            network.parameters(), lr=0.001 if case.one_sided else 0.3, momentum=0.9
        ),
        accumulation_steps=case.accumulation,
        key_train_metric={"accuracy": Accuracy(output_transform=from_engine(["pred", "label"]))},
        train_handlers=[EpochSeedHandler(0), margin_update, ValidateAtEnd(evaluator)],
    )
    trainer.run()
    return {
        "weights": dict(network.state_dict()),
        "memory": dict(objective.state_dict()),
        "training": dict(trainer.state.metrics),
        "validation": dict(evaluator.state.metrics),
        "robust": curve.curve.robust,
    }


def _process(rank, processes, folder):
    logging.disable(logging.INFO)
    if rank is None:
        name = "one"
    else:
        name = str(rank)
        os.environ |= {"RANK": name, "WORLD_SIZE": str(processes), "LOCAL_RANK": name}
        distributed.join("cpu")
    torch.save({str(case): train(case) for case in CASES}, folder / f"{name}.pt")
    distributed.leave()


def main(processes, folder):
    fork = multiprocessing.get_context("fork")
    os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(_free_port())}
    started = [
        fork.Process(target=_process, args=(rank, processes, folder))
        for rank in (None, *range(processes))
    ]
    for each in started:
        each.start()
    while left := [each.sentinel for each in started if each.exitcode is None]:
        multiprocessing.connection.wait(left)
        if any(each.exitcode not in (None, 0) for each in started):
            for each in started:  # which would wait for the one that failed
                each.kill()
            sys.exit("a process failed")


def _free_port():
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
