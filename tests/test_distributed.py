"""What one process sees of what several share, and what several are refused."""

import os
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn
from torch.distributed import HashStore
from torch.utils.data import DataLoader, IterableDataset

from monai_ima import distributed
from monai_ima.data import SharedBatches, TensorSamples, batches, share_of_samples
from monai_ima.engines import RobustTrainer
from monai_ima.handlers import EpochSeedHandler, RunWriter
from monai_ima.networks import DistributedNetwork, GlobalBatchNorm
from monai_ima.networks.global_batch_norm import with_global_batch_norm
from monai_ima.objectives import CrossEntropy


@pytest.fixture
def second_of_three(monkeypatch):
    """Three processes, as those that only ask see them."""
    for module in ("monai_ima.data.shares", "monai_ima.engines.trainer"):
        monkeypatch.setattr(f"{module}.processes", lambda: 3)
    monkeypatch.setattr("monai_ima.data.shares.rank", lambda: 1)
    monkeypatch.setattr("monai_ima.handlers.seed.rank", lambda: 1)


@pytest.fixture
def alone_in_a_group(monkeypatch):
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    variables = {"RANK": 0, "WORLD_SIZE": 1, "MASTER_ADDR": "localhost", "MASTER_PORT": port}
    for name, value in variables.items():
        monkeypatch.setenv(name, str(value))
    distributed.join("cpu")
    yield
    distributed.leave()


def samples(count):
    return TensorSamples(
        torch.rand(count, 1, 2), torch.arange(count) % 2, ids=[str(i) for i in range(count)]
    )


def check_hands_back_what_it_is_given():
    index, values = torch.tensor([2, 0]), torch.tensor([0.5, 1.5], requires_grad=True)
    assert [distributed.processes(), distributed.rank(), distributed.is_first()] == [1, 0, True]
    assert distributed.by_first(lambda: 3) == 3
    assert distributed.from_all("a") == ["a"]
    assert [each.tolist() for each in distributed.gathered(index, index > 1)] == [
        [2, 0],
        [True, False],
    ]
    (gradient,) = torch.autograd.grad(distributed.sum_of_all(values).sum(), values)
    assert gradient.tolist() == [1, 1]
    with pytest.raises(KeyError, match="mine"):
        distributed.by_first(lambda: {}["mine"])


def test_one_process_without_a_group_is_all_processes():
    check_hands_back_what_it_is_given()
    given = torch.tensor([2, 0]), torch.tensor([1.0, 3.0])
    assert [each.tolist() for each in distributed.by_sample(*given)] == [[2, 0], [1, 3]]
    distributed.leave()


def test_one_process_in_a_group_is_all_processes(alone_in_a_group):
    check_hands_back_what_it_is_given()
    index, values = distributed.by_sample(torch.tensor([2, 0, 2]), torch.tensor([1, 3, 5]))
    assert (index.tolist(), values.tolist()) == ([0, 2], [3, 1])
    with distributed.idling(True):
        assert distributed.gathered(index)[0].tolist() == []
        assert distributed.sum_of_all(values).tolist() == [0, 0]
    assert distributed.gathered(index)[0].tolist() == [0, 2]


def test_without_torchrun_there_is_nobody_to_join(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with pytest.raises(RuntimeError, match=r"expected to be started by torchrun.*bundles/scale"):
        distributed.join("cpu")


def test_more_processes_than_gpus_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert distributed.local_device() == torch.device("cuda", 1)
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(RuntimeError, match=r"got 2 and a process number 3; set --nproc_per_node=2"):
        distributed.local_device()


@pytest.mark.parametrize(
    ("run_id", "launch"),
    [(None, None), ("7", "7"), ("none", f"{socket.gethostname()} {os.getppid()}")],
)
def test_a_launch_is_told_from_others(monkeypatch, run_id, launch):
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    if run_id is not None:
        monkeypatch.setenv("TORCHELASTIC_RUN_ID", run_id)
    assert distributed.this_launch() == launch


@pytest.mark.parametrize("first_comes", [0, 1, 2])
def test_the_living_do_not_meet_where_the_dead_did(first_comes):
    store = HashStore()

    def meet(*delays):
        def come(rank):
            time.sleep(delays[rank])
            return distributed._meeting(store, rank, len(delays))

        with ThreadPoolExecutor(len(delays)) as threads:
            return list(threads.map(come, range(len(delays))))

    before = meet(0, 0, 0)
    distributed._meeting(store, 0, 1)  # one that died alone, without having seen the others
    after = meet(*torch.tensor([0, 0.1, 0.2]).roll(first_comes).tolist())
    assert len(set(before)) == len(set(after)) == 1
    assert before[0] != after[0]


# Shares


def test_shares_are_every_third_sample_of_a_batch(second_of_three):
    shared = SharedBatches(batches(samples(9), 4))
    found = [(batch["index"].tolist(), batch["share"]) for batch in shared]
    # in the last batch, of one sample, there is none for the second process
    assert found == [([1], 0.75), ([5], 0.75), ([8], 0.0)]
    assert len(shared) == 3


def test_shares_are_of_batches_in_the_order_of_one_process(second_of_three):
    def indices(loader):
        torch.manual_seed(5)
        return [batch["index"].tolist() for batch in loader]

    items = [{"index": i} for i in range(7)]
    for one in (
        batches(samples(7), 3, sampling="shuffled"),
        DataLoader(items, batch_size=3, shuffle=True),
    ):
        assert indices(SharedBatches(one)) == [each[1::3] or each[:1] for each in indices(one)]


def test_a_share_of_the_samples_has_each_once(second_of_three):
    found = [batch["index"].tolist() for batch in share_of_samples(batches(samples(9), 4))]
    assert found == [[1], [5]]


def test_one_process_has_all_samples():
    loader = batches(samples(9), 4)
    assert share_of_samples(loader) is loader


def test_what_cannot_be_shared_is_refused(second_of_three):
    class Stream(IterableDataset):
        def __iter__(self):
            yield from ()

    with pytest.raises(TypeError, match="whose samples have a number, got an IterableDataset"):
        SharedBatches(DataLoader(Stream()))
    with pytest.raises(TypeError, match="expected a DataLoader, got list"):
        share_of_samples([1])
    with pytest.raises(ValueError, match="as many samples as the 3 processes, got 2"):
        share_of_samples(batches(samples(9), 2))
    with pytest.raises(TypeError, match="expected batches by name, got Tensor"):
        next(iter(SharedBatches(DataLoader(torch.rand(4, 2)))))


def test_transforms_draw_otherwise_in_each_process(second_of_three, monkeypatch):
    seeds = []
    monkeypatch.setattr("monai_ima.handlers.seed.set_rnd", lambda _, seed: seeds.append(seed))
    monkeypatch.setattr("monai_ima.handlers.seed.set_determinism", seeds.append)

    class Engine:
        class state:  # noqa: N801
            epoch = 2

        data_loader = None

    EpochSeedHandler(0)(Engine())
    assert seeds[0] == 2
    assert seeds[1] != 2


# Trainer, network, writer


@pytest.mark.parametrize("what", ["network", "loader"])
def test_the_parts_of_one_process_are_refused_in_several(second_of_three, what):
    network = nn.Sequential(nn.Flatten(), nn.Linear(2, 2))
    wanted = {"network": "DistributedNetwork", "loader": "SharedBatches"}[what]
    if what == "loader":
        network.__class__ = DistributedNetwork
    with pytest.raises(TypeError, match=rf"expected a {wanted} .*bundles/scale/multi_gpu_train"):
        RobustTrainer(
            objective=CrossEntropy(),
            device=torch.device("cpu"),
            max_epochs=1,
            train_data_loader=batches(samples(4), 2),
            network=network,
            optimizer=torch.optim.SGD([torch.zeros(1, requires_grad=True)], 0.1),
        )


def test_in_eval_mode_the_network_inside_answers(alone_in_a_group):
    network = DistributedNetwork(nn.Linear(2, 2)).eval()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nn.parallel.DistributedDataParallel, "forward", None)
        assert network(torch.rand(3, 2)).shape == (3, 2)


@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("affine", [True, False])
def test_a_global_batch_norm_is_that_of_torch_over_all_samples(monkeypatch, momentum, affine):
    mine, its = (
        nn.Sequential(nn.BatchNorm2d(3, momentum=momentum, affine=affine)).double()
        for _ in range(2)
    )
    assert with_global_batch_norm(mine) is mine
    assert type(mine[0]) is GlobalBatchNorm
    # all processes have no more than this one
    monkeypatch.setattr("monai_ima.networks.global_batch_norm.processes", lambda: 2)
    for mode in (True, True, False):
        inputs = (10 + torch.randn(4, 3, 2, 5)).double().requires_grad_()
        outputs, expected = mine.train(mode)(inputs), its.train(mode)(inputs)
        torch.testing.assert_close(outputs, expected)
        weights = torch.rand_like(outputs)
        for found in zip(
            torch.autograd.grad((outputs * weights).sum(), inputs),
            torch.autograd.grad((expected * weights).sum(), inputs),
            strict=True,
        ):
            torch.testing.assert_close(*found)
    torch.testing.assert_close(mine.state_dict(), its.state_dict())
    with pytest.raises(ValueError, match="more than one value"):
        mine.train()(inputs[:1, :, :1, :1])


def test_a_process_other_than_the_first_writes_no_events(tmp_path, monkeypatch):
    monkeypatch.setattr("monai_ima.handlers.run_writer.is_first", lambda: False)
    writer = RunWriter(str(tmp_path))
    writer.add_scalar("a", 1.0, 1)
    writer.add_histogram("b", torch.rand(3), 1)
    writer.add_custom_scalars({"A": {"b": ["Multiline", ["c"]]}})
    writer.close()
    assert list(tmp_path.iterdir()) == []
