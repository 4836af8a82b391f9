import os
import pickle
import random
import re
import warnings
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import safetensors.torch
import torch
from monai.networks.nets import DenseNet
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils.parametrizations import weight_norm
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from monai_ima.networks import Normalized, load_classifier, small_cnn, weights_fingerprint
from monai_ima.networks.checkpoint_file import is_intact, is_torchscript


class Wrapped(nn.Module):
    """As a Lightning module holds its network."""

    def __init__(self, name, network):
        super().__init__()
        self.add_module(name, network)


def make(num_classes=3, in_channels=1):
    network = nn.Sequential(
        OrderedDict(
            features=nn.Sequential(nn.Conv2d(in_channels, 2, 3), nn.BatchNorm2d(2), nn.ReLU()),
            head=nn.Sequential(nn.Flatten(), nn.Linear(8, num_classes)),
        )
    )
    for value in network.state_dict().values():
        value.copy_(torch.rand(value.shape) if value.is_floating_point() else torch.tensor(7))
    return network


@pytest.fixture
def trained():
    return make()


def scripted(model, file, *, freeze=False):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        script = torch.jit.script(model.eval())
        (torch.jit.freeze(script) if freeze else script).save(file)
    return file


def saved(content, file):
    torch.save(content, file)
    return file


def assert_same(loaded, trained):
    inputs = torch.rand(5, 1, 4, 4)
    assert not any(module.training for module in loaded.modules())
    torch.testing.assert_close(loaded(inputs), trained.eval()(inputs), rtol=0, atol=0)


# --- where the weights are in the file ------------------------------------------------------------

OPTIMIZER = {"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": [{"lr": 0.1}]}
PLACES = {
    "bare": lambda state: state,
    "model": lambda state: {"model": state, "optimizer": OPTIMIZER, "epoch": 3},
    "state_dict": lambda state: {"state_dict": state, "hyper_parameters": {"lr": 0.1}},
    "network": lambda state: {"network": state, "loss": torch.tensor(1.0)},
    "net": lambda state: {"epoch": 3, "net": state},
    "model_state_dict": lambda state: {"model_state_dict": state, "ema": {"w": torch.zeros(2)}},
    "the only one": lambda state: {"classifier": state, "optimizer": OPTIMIZER},
    "Lightning": lambda state: {
        "epoch": 3,
        "global_step": 12,
        "pytorch-lightning_version": "2.5.1",
        "state_dict": {f"model.{name}": value for name, value in state.items()},
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"current": {"ready": 3}}}},
        "callbacks": {
            "EarlyStopping{'monitor': 'loss'}": {"best_score": torch.tensor(0.1), "patience": 3},
            "ModelCheckpoint{'monitor': 'loss'}": {
                "best_model_score": torch.tensor(0.1),
                "best_k_models": {"/runs/epoch=2.ckpt": torch.tensor(0.1)},
            },
        },
        "optimizer_states": [OPTIMIZER],
        "lr_schedulers": [{"last_epoch": 3, "_last_lr": [0.1]}],
        "hparams_name": "kwargs",
        "hyper_parameters": {"lr": 0.1, "width": np.int64(2), "classes": ["a", "b", "c"]},
    },
    "checkpoint.pt of a run": lambda state: {
        "epoch": 3,
        "best": None,
        "objects": {
            "network": state,
            "optimizer": OPTIMIZER,
            "objective": {"margins": torch.zeros(4)},
        },
    },
}


@pytest.mark.parametrize("place", PLACES)
def test_the_state_dict_is_found(trained, tmp_path, place):
    file = saved(PLACES[place](trained.state_dict()), tmp_path / "model.pt")
    network = make()

    loaded = load_classifier(network, checkpoint=file)

    assert loaded is network
    assert_same(loaded, trained)


def test_key_names_one_of_several(trained, tmp_path):
    content = {"model": make().state_dict(), "ema": {"model": trained.state_dict()}}
    file = str(saved(content, tmp_path / "model.pt"))

    assert_same(load_classifier(make(), checkpoint=file, key="ema.model"), trained)
    with pytest.raises(ValueError, match=r"which state_dict .*got None; there is model, ema.model"):
        load_classifier(make(), checkpoint=file)
    with pytest.raises(ValueError, match=r"got 'ema'; there is model, ema.model"):
        load_classifier(make(), checkpoint=file, key="ema")


@pytest.mark.parametrize(("raw", "ema"), [("model", "model_ema"), ("state_dict", "ema.shadow")])
def test_raw_and_averaged_weights_are_told_apart_by_key(trained, tmp_path, raw, ema):
    averaged = AveragedModel(make(), multi_avg_fn=get_ema_multi_avg_fn(0.5))
    averaged.update_parameters(trained)
    averaged.update_parameters(make())
    content = {raw: trained.state_dict(), "epoch": 3}
    first, dot, second = ema.partition(".")
    content[first] = {second: averaged.state_dict()} if dot else averaged.state_dict()
    file = saved(content, tmp_path / "model.pt")

    with pytest.raises(ValueError, match=rf"got None; there is {raw}, {ema}$"):
        load_classifier(make(), checkpoint=file)
    assert_same(load_classifier(make(), checkpoint=file, key=raw), trained)
    assert_same(load_classifier(make(), checkpoint=file, key=ema), averaged.module)


def test_averaged_parameters_alone_are_a_candidate_as_well(trained, tmp_path):
    content = {"state_dict": trained.state_dict(), "ema": dict(make().named_parameters())}
    file = saved(content, tmp_path / "model.pt")

    with pytest.raises(ValueError, match=r"got None; there is state_dict, ema$"):
        load_classifier(make(), checkpoint=file)
    assert_same(load_classifier(make(), checkpoint=file, key="state_dict"), trained)


def test_a_bare_state_dict_needs_no_key(trained, tmp_path):
    file = saved(trained.state_dict(), tmp_path / "model.pt")

    with pytest.raises(ValueError, match=r"got 'model'; there is the file itself, .*no key"):
        load_classifier(make(), checkpoint=file, key="model")


# --- what the weights are called ------------------------------------------------------------------

WRAPPERS = {
    "module": ["module"],
    "torch.compile": ["_orig_mod"],
    "both": ["_orig_mod", "module"],
    "Lightning": ["net", "_orig_mod"],
    "Lightning's model": ["model"],
    "Normalized": ["network"],
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_prefixes_of_wrappers_do_not_matter(trained, tmp_path, wrapper):
    wrapped = trained
    for name in WRAPPERS[wrapper]:
        wrapped = Wrapped(name, wrapped)
    file = saved(wrapped.state_dict(), tmp_path / "model.pt")

    assert_same(load_classifier(make(), checkpoint=file), trained)


def test_a_network_may_be_wrapped_where_its_weights_are_not(trained, tmp_path):
    file = saved(trained.state_dict(), tmp_path / "model.pt")

    loaded = load_classifier(Normalized(make(), mean=0.2, std=0.3), checkpoint=file)

    assert_same(loaded, Normalized(trained, mean=0.2, std=0.3))


def test_a_part_called_like_a_wrapper_is_no_wrapper(tmp_path):
    network = small_cnn()  # Normalized: network.0, network.1, ...
    weights = network.state_dict()

    loaded = load_classifier(small_cnn(), checkpoint=saved(weights, tmp_path / "model.pt"))

    assert weights_fingerprint(loaded) == weights_fingerprint(network)
    also = Wrapped("net", make())
    also.add_module("head", make())
    file = saved(also.state_dict(), tmp_path / "other.pt")
    with pytest.raises(ValueError, match=r"not in the file .*: features.0.weight, .*net.features"):
        load_classifier(make(), checkpoint=file)


def test_branches_called_like_wrappers_are_not_mixed_up(tmp_path):
    def branched():
        network = Wrapped("model", make())
        network.add_module("net", make())
        return network

    network = branched()
    file = saved(network.state_dict(), tmp_path / "model.pt")

    loaded = load_classifier(branched(), checkpoint=file)

    assert weights_fingerprint(loaded) == weights_fingerprint(network)


def test_names_of_the_real_wrappers(trained, tmp_path):
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path / 'rendezvous'}", rank=0, world_size=1
    )
    try:
        wrapped = torch.compile(DistributedDataParallel(trained), backend="eager")
    finally:
        torch.distributed.destroy_process_group()
    file = saved(wrapped.state_dict(), tmp_path / "model.pt")

    assert next(iter(wrapped.state_dict())) == "_orig_mod.module.features.0.weight"
    assert_same(load_classifier(make(), checkpoint=file), trained)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_values_of_another_type_become_those_of_the_network(tmp_path, dtype):
    trained = make().to(dtype)
    nn.init.uniform_(trained.features[0].weight)  # more digits than float32 has, if it is float64
    file = saved(trained.state_dict(), tmp_path / "model.pt")

    loaded = load_classifier(make(), checkpoint=file)

    assert {value.dtype for value in loaded.parameters()} == {torch.float32}
    assert_same(loaded, trained.float())


def test_averaged_weights(trained, tmp_path):
    averaged = AveragedModel(Wrapped("module", trained), multi_avg_fn=get_ema_multi_avg_fn(0.5))
    averaged.update_parameters(Wrapped("module", trained))
    averaged.update_parameters(Wrapped("module", make()))
    file = saved(averaged.state_dict(), tmp_path / "model.pt")

    assert {name.partition(".")[0] for name in averaged.state_dict()} == {"module", "n_averaged"}
    assert_same(load_classifier(make(), checkpoint=file), averaged.module.module)
    loaded = load_classifier(AveragedModel(Wrapped("module", make())), checkpoint=file)
    assert loaded.n_averaged == 2
    assert weights_fingerprint(loaded) == weights_fingerprint(averaged)


# --- some of a file -------------------------------------------------------------------------------


def with_other_parts(trained, *, prefix, wrapper=""):
    return {
        "encoder.stem.weight": torch.rand(3, 3),
        **{f"{prefix}{wrapper}{name}": value for name, value in trained.state_dict().items()},
        "criterion.weight": torch.rand(3),
    }


@pytest.mark.parametrize("wrapper", ["", "module.", "_orig_mod.module."])
@pytest.mark.parametrize("prefix", ["encoder.classifier.", "encoder.classifier"])
def test_prefix_takes_the_weights_of_one_part(trained, tmp_path, prefix, wrapper):
    state = with_other_parts(trained, prefix="encoder.classifier.", wrapper=wrapper)
    file = saved({"state_dict": state, "epoch": 3}, tmp_path / "model.pt")

    assert_same(load_classifier(make(), checkpoint=file, prefix=prefix), trained)
    loaded = load_classifier(Normalized(make()), checkpoint=file, prefix=prefix)
    assert_same(loaded, Normalized(trained))


def test_prefix_of_averaged_weights(trained, tmp_path):
    network = Wrapped("net", make())
    network.ema = AveragedModel(trained)
    file = saved(network.state_dict(), tmp_path / "model.pt")

    assert_same(load_classifier(make(), checkpoint=file, prefix="ema."), trained)
    assert_same(load_classifier(make(), checkpoint=file, prefix="net."), network.net)


def test_prefix_says_which_state_dict_is_meant(trained, tmp_path):
    content = {
        "model": make().state_dict(),
        "all": with_other_parts(trained, prefix="encoder.classifier."),
    }
    file = saved(content, tmp_path / "model.pt")

    assert_same(load_classifier(make(), checkpoint=file, prefix="encoder.classifier"), trained)


@pytest.mark.parametrize(
    ("prefix", "there"),
    [
        ("classifier.", "'encoder.', 'criterion.'"),
        ("encoder.clasifier.", "'encoder.stem.', 'encoder.classifier.'"),
        ("encoder.class", "'encoder.stem.', 'encoder.classifier.'"),
        ("encoder.classifier.head.0", "'encoder.classifier.head.1.'"),
        ("criterion.weight", "none"),
    ],
)
def test_a_prefix_that_no_name_has(trained, tmp_path, prefix, there):
    state = with_other_parts(trained, prefix="encoder.classifier.")
    file = saved(state, tmp_path / "model.pt")

    message = rf"prefix \(setting checkpoint_prefix\) .*, got '{prefix}\.?'; there is {there}$"
    with pytest.raises(ValueError, match=message):
        load_classifier(make(), checkpoint=file, prefix=prefix)


def test_a_prefix_is_text(trained, tmp_path):
    file = saved(nn.Sequential(trained).state_dict(), tmp_path / "model.pt")

    assert_same(load_classifier(make(), checkpoint=file, prefix="0."), trained)
    with pytest.raises(TypeError, match=r"to be text, got 0.0; put it in quotes"):
        load_classifier(make(), checkpoint=file, prefix=0.0)


# --- whatever load_state_dict takes ---------------------------------------------------------------


@pytest.mark.parametrize("keeps_metadata", [False, True])
def test_counts_of_batches_may_be_missing(trained, tmp_path, keeps_metadata):
    """As in files of torch before 1.0 (pytorch#8430), or where only floats were kept."""
    state = trained.state_dict()
    del state["features.1.num_batches_tracked"]
    state = state if keeps_metadata else dict(state)
    file = saved({f"module.{name}": state[name] for name in state}, tmp_path / "model.pt")
    own = saved(state, tmp_path / "own.pt")

    assert_same(load_classifier(make(), checkpoint=file), trained)
    assert_same(load_classifier(make(), checkpoint=own), trained)


class Doubled(nn.Module):
    """Whose weights were half as large in version 1, as only the metadata tell."""

    _version = 2

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))

    def _load_from_state_dict(self, state, prefix, metadata, *others):
        if metadata["version"] == 1:
            state[f"{prefix}weight"] = 2 * state[f"{prefix}weight"]
        super()._load_from_state_dict(state, prefix, metadata, *others)


@pytest.mark.parametrize("as_key", [False, True])
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("wrapper", ["", "module.", "_orig_mod.module.", "head."])
def test_metadata_go_along(tmp_path, wrapper, version, as_key):
    state = OrderedDict({f"{wrapper}part.weight": torch.tensor(3.0)})
    metadata = {"": {"version": 7}, f"{wrapper}part": {"version": version}}
    if as_key:
        state["_metadata"] = metadata
    else:
        state._metadata = metadata
    file = saved({"model": state}, tmp_path / "model.pt")
    prefix = wrapper if wrapper == "head." else None

    for network in (Wrapped("part", Doubled()), Normalized(Wrapped("part", Doubled()))):
        (weight,) = load_classifier(network, checkpoint=file, prefix=prefix).parameters()
        assert weight == 6.0 / version


class Scaled(nn.Module):
    """Keeps more than tensors, as quantisation and transformer libraries do."""

    def __init__(self, network, kept=None):
        super().__init__()
        self.part = network
        self.kept = kept

    def get_extra_state(self):
        return self.kept

    def set_extra_state(self, state):
        self.kept = {"scale": state["scale"], "names": [*state["names"]]}

    def forward(self, inputs):
        return self.kept["scale"] * self.part(inputs)


@pytest.mark.parametrize("scale", [2.0, torch.tensor(2.0)])
def test_extra_states_go_along(trained, tmp_path, scale):
    kept = {"scale": scale, "names": ["a", "b"]}
    wrapped = Wrapped("module", Scaled(trained, kept))
    file = saved({"model": wrapped.state_dict()}, tmp_path / "model.pt")

    loaded = load_classifier(Scaled(make()), checkpoint=file)

    assert loaded.kept == kept
    assert_same(loaded, Scaled(trained, kept))


EXTRA_STATES = {
    "not wanted": (make, {"scale": 2.0}, r"not in the network \(1 of .*\): _extra_state"),
    "not understood": (
        lambda: Scaled(make()),
        {},
        r"to fit the network, got KeyError: 'scale'. Define",
    ),
    "of NumPy": (
        lambda: Scaled(make()),
        {"scale": 1.0, "names": [np.float64(2.0)]},
        r"plain values, got _extra_state with a value of NumPy's in .*float\(\)",
    ),
}


@pytest.mark.parametrize("case", EXTRA_STATES)
def test_extra_states_that_cannot_be_set(trained, tmp_path, case):
    make_network, kept, message = EXTRA_STATES[case]
    state = trained.state_dict()
    if case != "not wanted":
        state = Scaled(trained).state_dict()
    file = saved(state | {"_extra_state": kept}, tmp_path / "model.pt")

    with pytest.raises(ValueError, match=message):
        load_classifier(make_network(), checkpoint=file)


def test_names_that_torch_itself_translates(tmp_path):
    def normed():
        return nn.Sequential(nn.Flatten(), weight_norm(nn.Linear(16, 3)))

    trained = normed()
    state = trained.state_dict()
    new = "1.parametrizations.weight.original"
    old = {
        "1.bias": state["1.bias"],
        "1.weight_g": 2 * state[f"{new}0"],
        "1.weight_v": state[f"{new}1"],
    }
    trained[1].parametrizations.weight.original0.data.mul_(2)

    loaded = load_classifier(normed(), checkpoint=saved(old, tmp_path / "model.pt"))

    assert_same(loaded, trained)


def test_quantised_weights(tmp_path):
    def quantised():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            network = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
            return torch.ao.quantization.quantize_dynamic(network, {nn.Linear})

    trained = quantised()
    file = saved({"model": trained.state_dict(), "epoch": 3}, tmp_path / "model.pt")

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "TypedStorage is deprecated")  # within torch.load
        loaded = load_classifier(quantised(), checkpoint=file)

    assert_same(loaded, trained)
    assert weights_fingerprint(loaded) == weights_fingerprint(trained)


# --- values of NumPy's beside the weights ---------------------------------------------------------

NUMPY = {
    "best_acc": np.float64(0.9),
    "epoch": np.int64(3),
    "is_best": np.bool_(True),
    "name": np.str_("a"),
    "history": np.arange(6.0).reshape(2, 3),
    "mixed": np.array([None, "a"]),
    "table": np.zeros(2, dtype=[("a", "f4"), ("b", "U3")]),
    "type": np.dtype("float32"),
}


@pytest.mark.parametrize("version", [1, 2])
def test_values_of_numpy_do_not_matter(trained, tmp_path, version):
    file = tmp_path / "model.pt"
    allowed = torch.serialization.get_safe_globals()
    content = {"state_dict": trained.state_dict(), **NUMPY}
    torch.save(content, file, _use_new_zipfile_serialization=False)
    theirs = {1: b"numpy.core.multiarray", 2: b"numpy._core.multiarray"}
    file.write_bytes(re.sub(rb"numpy\._?core\.multiarray", theirs[version], file.read_bytes()))

    assert theirs[version] in file.read_bytes()
    assert_same(load_classifier(make(), checkpoint=file), trained)
    assert_same(load_classifier(make(), checkpoint=saved(content, tmp_path / "b.pt")), trained)
    assert torch.serialization.get_safe_globals() == allowed


class Reduced:
    """Pickled as a call."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def test_no_code_of_numpy_runs(trained, tmp_path):
    """An array of objects in memory of the file's choice: to look at it would be the end."""
    array = Reduced(np.ndarray, 1, "O", b"\x11" * 8)
    file = saved({"model": trained.state_dict(), "other": array}, tmp_path / "model.pt")
    assert_same(load_classifier(make(), checkpoint=file), trained)

    file = saved({"model": trained.state_dict(), "other": Reduced(OrderedDict, array)}, file)
    with pytest.raises(ValueError, match=r"checkpoint to be a file of torch.save, got"):
        load_classifier(make(), checkpoint=file)


CODE = {
    "a function": lambda marker: Reduced(eval, f"open({str(marker)!r}, 'w')"),
    "the system": lambda marker: Reduced(os.system, f"touch '{marker}'"),
    "a file": lambda marker: Reduced(open, str(marker), "w"),
    "an array": lambda marker: np.array([Reduced(os.system, f"touch '{marker}'")]),
    "NumPy's file": lambda marker: Reduced(np.memmap, str(marker), "u1", "w+", 0, 8),
}


@pytest.mark.parametrize("is_zip", [True, False])
@pytest.mark.parametrize("case", CODE)
def test_code_does_not_run(trained, tmp_path, case, is_zip):
    file, marker = tmp_path / "model.pt", tmp_path / "marker"
    content = {"model": trained.state_dict(), "other": CODE[case](marker)}
    torch.save(content, file, _use_new_zipfile_serialization=is_zip)

    with pytest.raises(ValueError, match=r"values alone, got .*model.pt with \S+, .*any code"):
        load_classifier(make(), checkpoint=file)

    assert not marker.exists()


# --- weights that do not fit ----------------------------------------------------------------------


def test_another_number_of_classes(trained, tmp_path):
    file = saved(trained.state_dict(), tmp_path / "model.pt")

    with pytest.raises(ValueError, match="to fit the network") as error:
        load_classifier(make(num_classes=4), checkpoint=file)

    assert str(error.value).endswith(
        "got of another shape (2): head.1.weight (4, 8) is (3, 8) in the file, head.1.bias (4,) is "
        "(3,) in the file. Define the network as it was trained: its number of classes, of input "
        "channels, of dimensions or its size"
    )


def test_another_network(trained, tmp_path):
    state = trained.state_dict()
    state["extra"] = state.pop("head.1.bias")
    file = saved(state, tmp_path / "model.pt")

    with pytest.raises(ValueError, match="to fit the network") as error:
        load_classifier(make(in_channels=2), checkpoint=file)

    assert str(error.value).endswith(
        "got not in the file (1 of the network's 9): head.1.bias; not in the network (1 of the "
        "file's 9): extra; of another shape (1): features.0.weight (2, 2, 3, 3) is (2, 1, 3, 3) in "
        "the file. Define the network as it was trained: its kind and size"
    )


def test_few_of_many_names_are_listed(trained, tmp_path):
    file = saved(trained.state_dict(), tmp_path / "model.pt")
    net = DenseNet(2, 1, 3, init_features=8, growth_rate=4, block_config=(2, 2))

    with pytest.raises(ValueError, match=r"not in the file \(\d+ of") as error:
        load_classifier(net, checkpoint=file)

    assert (
        "(9 of the file's 9): features.0.weight, features.0.bias, features.1.weight, ...."
        in str(error.value)
    )


ADVICE = {
    "a loss beside it": (
        lambda state: {**prefixed("model.", state), "loss.weight": torch.rand(3)},
        r"The names below 'model.' fit: give this as prefix \(setting checkpoint_prefix\)",
    ),
    "another prefix": (
        lambda state: prefixed("backbone.net.", state),
        r"The names below 'backbone.net.' fit: give this as prefix .*",
    ),
    "two networks": (
        lambda state: {**prefixed("student.", state), **prefixed("teacher.", state)},
        r"The names below 'student.' and below 'teacher.' fit: give one of them as prefix .*",
    ),
    "a count of another wrapper": (
        lambda state: {"n_averaged": torch.tensor(1), **prefixed("model.", state)},
        r"not in the network .*: n_averaged, .* The names below 'model.' fit: .*",
    ),
    "parameters alone": (
        lambda state: {name: state[name] for name in state if "running" not in name},
        r"got not in the file \(2 .*size; or save all of model.state_dict\(\), whose buffers are mi.*",
    ),
    "more": (
        lambda state: {**state, "loss": torch.rand(3)},
        r"got not in the network .*: loss. Define .* its kind and size; or save its weights alone",
    ),
    "less": (
        lambda state: {name: state[name] for name in state if name != "head.1.bias"},
        r"got not in the file .*: head.1.bias. Define .* its kind and size",
    ),
}


def prefixed(prefix, state):
    return {f"{prefix}{name}": value for name, value in state.items()}


@pytest.mark.parametrize("case", ADVICE)
def test_what_to_do_about_weights_that_do_not_fit(trained, tmp_path, case):
    change, message = ADVICE[case]
    file = saved(change(trained.state_dict()), tmp_path / "model.pt")

    with pytest.raises(ValueError, match=f"{message}$"):
        load_classifier(make(), checkpoint=file)


def test_a_network_that_weights_do_not_fit_is_left_as_it_was(trained, tmp_path):
    network = make(num_classes=4)
    before = weights_fingerprint(network)

    with pytest.raises(ValueError, match="of another shape"):
        load_classifier(network, checkpoint=saved(trained.state_dict(), tmp_path / "model.pt"))

    assert weights_fingerprint(network) == before


def test_a_lazy_network(tmp_path):
    trained = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    lazy = nn.Sequential(nn.Flatten(), nn.LazyLinear(3))
    file = saved(trained.state_dict(), tmp_path / "model.pt")

    assert_same(load_classifier(lazy, checkpoint=file), trained)
    with pytest.raises(ValueError, match=r"not in the network .*: 1.weight, 1.bias"):
        load_classifier(nn.Sequential(nn.LazyLinear(3)), checkpoint=file)


# --- safetensors ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize("wrapper", ["", "module."])
def test_safetensors(trained, tmp_path, name, wrapper):
    file = tmp_path / name
    safetensors.torch.save_file(prefixed(wrapper, trained.state_dict()), file, {"format": "pt"})

    assert_same(load_classifier(make(), checkpoint=file), trained)


def test_safetensors_leave_out_the_further_names_of_a_tensor(tmp_path):
    def tied():
        network = nn.Sequential(nn.Flatten(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 16))
        network[3].weight = network[1].weight
        return network

    trained, file = tied(), tmp_path / "model.safetensors"
    safetensors.torch.save_model(trained, str(file))

    assert len(safetensors.torch.load_file(file)) == 3
    assert_same(load_classifier(tied(), checkpoint=file), trained)


def test_a_file_of_torch_by_the_name_of_safetensors(trained, tmp_path):
    file = saved(trained.state_dict(), tmp_path / "model.safetensors")

    assert_same(load_classifier(make(), checkpoint=file), trained)


BAD_SAFETENSORS = {
    "empty": (lambda content: b"", "an empty file"),
    "cut in its values": (lambda content: content[:-3], "is damaged or was cut short"),
    "cut in its header": (lambda content: content[:100], "is damaged or was cut short"),
    "flipped": (lambda content: content[:30] + b"\x00" + content[31:], "is damaged or was cut"),
    "longer": (lambda content: content + b"a", "is damaged or was cut short"),
    "text": (lambda content: b"hello", "a file of another kind"),
    "Git LFS": (lambda content: b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
}


@pytest.mark.parametrize("case", BAD_SAFETENSORS)
def test_bad_safetensors_are_named(trained, tmp_path, case):
    change, message = BAD_SAFETENSORS[case]
    file = tmp_path / "model.safetensors"
    file.write_bytes(change(safetensors.torch.save(trained.state_dict())))

    with pytest.raises(ValueError, match=rf"a file of safetensors, got .*{message}.*; copy it"):
        load_classifier(make(), checkpoint=file)


# --- damaged files --------------------------------------------------------------------------------


@pytest.mark.parametrize("is_torchscript", [False, True])
def test_a_flipped_bit_is_noticed(trained, tmp_path, is_torchscript):
    """Wherever it is, the file is refused, or what is loaded is as it was."""
    file, damaged = tmp_path / "model.pt", tmp_path / "damaged.pt"
    if is_torchscript:
        load = {"torchscript": damaged}
        content = scripted(trained, file).read_bytes()
    else:
        load = {"network": make(), "checkpoint": damaged}
        content = saved(trained.state_dict(), file).read_bytes()
    number = random.Random(0)
    ends = set()
    for place in number.sample(range(len(content)), 300):
        flipped = content[place] ^ 1 << number.randrange(8)
        damaged.write_bytes(content[:place] + bytes([flipped]) + content[place + 1 :])
        try:
            loaded = load_classifier(**load)
        except ValueError as error:
            assert re.search("(copy|export) it again|cut short", str(error))  # noqa: PT017
            ends.add("refused")
        else:
            assert weights_fingerprint(loaded) == weights_fingerprint(trained)
            ends.add("loaded")
    assert ends == {"refused", "loaded"}


def test_an_export_whose_list_of_files_is_damaged_is_to_be_made_again(trained, tmp_path):
    file = scripted(trained, tmp_path / "model.pt")
    content, reasons = file.read_bytes(), []
    for place in range(content.index(b"PK\x01\x02"), len(content)):
        file.write_bytes(content[:place] + bytes([content[place] ^ 8]) + content[place + 1 :])
        if is_intact(file) and not is_torchscript(file):
            with pytest.raises(ValueError, match="copy or export it again") as caught:
                load_classifier(torchscript=file)
            reasons.append(str(caught.value))
    assert any("a file of another kind" in reason for reason in reasons)


def test_a_changed_weight_is_noticed(trained, tmp_path):
    file = saved(trained.state_dict(), tmp_path / "model.pt")
    content = bytearray(file.read_bytes())
    values = trained.features[0].weight.detach().numpy().tobytes()
    content[content.index(values) + 3] ^= 1
    file.write_bytes(content)

    with pytest.raises(ValueError, match=r"intact file, got .*model.pt, which is damaged; copy"):
        load_classifier(make(), checkpoint=file)


def test_a_record_marked_as_a_folder_is_noticed(trained, tmp_path):
    """Torch reads whatever is in memory then."""
    file = saved(trained.state_dict(), tmp_path / "model.pt")
    content = bytearray(file.read_bytes())
    entry = content.rindex(b"model/data/0") - 46  # of its central directory
    assert content[entry : entry + 4] == b"PK\x01\x02"
    content[entry + 38] ^= 0x10
    file.write_bytes(content)

    with pytest.raises(ValueError, match="which is damaged; copy it again"):
        load_classifier(make(), checkpoint=file)


def test_a_file_without_checksums(trained, tmp_path):
    torch.serialization.set_crc32_options(False)
    try:
        file = saved(trained.state_dict(), tmp_path / "model.pt")
    finally:
        torch.serialization.set_crc32_options(True)

    with zipfile.ZipFile(file) as archive:
        assert {record.CRC for record in archive.infolist()} == {0}
    assert_same(load_classifier(make(), checkpoint=file), trained)


# --- files of another kind ------------------------------------------------------------------------


def cut(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def text(file, content):
    file.write_text(content)


def archive(file):
    with zipfile.ZipFile(file, "w") as stream:
        stream.writestr("a", "b")


BAD_FILES = {
    "a folder": (lambda file: file.mkdir(), r"to be a file, got .*model.pt: a folder; correct"),
    "nothing": (lambda file: None, r"checkpoint to be a file, got .*model.pt: no such file"),
    "empty": (lambda file: file.touch(), r"file of torch.save, got .*model.pt, an empty file"),
    "cut short": (
        lambda file: cut(saved(make().state_dict(), file)),
        r"a file that was cut short; copy it again",
    ),
    "text": (lambda file: text(file, "hello"), r"a file of another kind; .* correct the path"),
    "a table": (lambda file: text(file, "class,path\na,b\n"), r"a file of another kind; copy"),
    "Git LFS": (
        lambda file: text(file, "version https://git-lfs.github.com/spec/v1\noid sha256:1\n"),
        r"a pointer of Git LFS, .*git lfs pull",
    ),
    "a pickle": (
        lambda file: file.write_bytes(pickle.dumps({"a": 1}, protocol=4)),
        r"a file of another kind",
    ),
    "a zip": (archive, r"a file of another kind"),
    "a whole model": (
        lambda file: saved(make(), file),
        r"values alone, got .*model.pt with torch.nn.modules.\w+.*any code.*state_dict\(\)",
    ),
    "TorchScript": (lambda file: scripted(make(), file), r"TorchScript export; give it as torchsc"),
    "a tensor": (lambda file: saved(torch.zeros(2), file), r"state_dict, got a Tensor; save"),
    "an optimizer": (
        lambda file: saved({"optimizer": {"state": {}}, "epoch": 3}, file),
        r"a state_dict, got a dictionary with optimizer, epoch; save",
    ),
    "an empty dictionary": (lambda file: saved({}, file), r"got a dictionary with nothing; save"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_file_that_is_no_checkpoint_is_named(tmp_path, case):
    write, message = BAD_FILES[case]
    file = tmp_path / "model.pt"
    write(file)

    with pytest.raises((ValueError, FileNotFoundError), match=message):
        load_classifier(make(), checkpoint=file)


def test_an_old_file_cut_short(trained, tmp_path):
    file = tmp_path / "model.pt"
    torch.save(trained.state_dict(), file, _use_new_zipfile_serialization=False)
    assert_same(load_classifier(make(), checkpoint=file), trained)
    cut(file)

    with pytest.raises(ValueError, match="a file that was cut short"):
        load_classifier(make(), checkpoint=file)


def test_an_old_file_cut_short_in_its_values(tmp_path):
    network, file = nn.Sequential(nn.Flatten(), nn.Linear(100, 100)), tmp_path / "model.pt"
    torch.save(network.state_dict(), file, _use_new_zipfile_serialization=False)
    cut(file)

    with pytest.raises(ValueError, match="a file that was cut short"):
        load_classifier(network, checkpoint=file)


def test_an_old_file_of_a_whole_model(trained, tmp_path):
    file = tmp_path / "model.pt"
    torch.save(trained, file, _use_new_zipfile_serialization=False)

    with pytest.raises(ValueError, match=r"with torch.nn.modules.container.Sequential, .*any code"):
        load_classifier(make(), checkpoint=file)


@pytest.mark.parametrize(
    ("arguments", "got"),
    [
        ([], "nothing"),
        (["network"], "network"),
        (["checkpoint"], "checkpoint"),
        (["network", "torchscript"], "network and torchscript"),
        (["network", "checkpoint", "torchscript"], "network and checkpoint and torchscript"),
        (["torchscript", "key"], "torchscript and key"),
        (["torchscript", "prefix"], "torchscript and prefix"),
    ],
)
def test_arguments_that_do_not_go_together(tmp_path, arguments, got):
    values = {
        "network": make(),
        "checkpoint": "a",
        "torchscript": "b",
        "key": "c",
        "prefix": "d",
    }

    with pytest.raises(ValueError, match=rf"got {got}; an evaluation needs trained weights"):
        load_classifier(**{name: values[name] for name in arguments})


def test_the_name_of_a_network_is_no_network():
    with pytest.raises(TypeError, match=r"torch.nn.Module, got 'DenseNet121'"):
        load_classifier("DenseNet121", checkpoint="a")


# --- TorchScript ----------------------------------------------------------------------------------


@pytest.mark.parametrize("freeze", [False, True])
def test_torchscript_is_the_network_with_its_gradients(trained, tmp_path, freeze):
    loaded = load_classifier(torchscript=scripted(trained, tmp_path / "model.ts", freeze=freeze))

    inputs = torch.rand(5, 1, 4, 4, requires_grad=True)
    torch.testing.assert_close(loaded(inputs), trained(inputs))
    gradients = [torch.autograd.grad(net(inputs).sum(), inputs)[0] for net in (loaded, trained)]
    torch.testing.assert_close(*gradients)
    assert not loaded.training


def test_torchscript_is_said_to_be_a_program(trained, tmp_path, caplog):
    load_classifier(make(), checkpoint=saved(trained.state_dict(), tmp_path / "model.pt"))
    assert not caplog.records

    load_classifier(torchscript=scripted(trained, tmp_path / "model.ts"))
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert f"{tmp_path / 'model.ts'} is TorchScript, a program" in record.getMessage()


def archive_with_constants(file):
    with zipfile.ZipFile(file, "w") as stream:
        stream.writestr("a/constants.pkl", pickle.dumps(()))


BAD_TORCHSCRIPT = {
    "nothing": (lambda file: None, r"torchscript to be a file, got .*: no such file"),
    "weights": (
        lambda file: saved(make().state_dict(), file),
        r"file of torch.jit.save, got .*another kind; weights alone are given as checkpoint",
    ),
    "cut short": (lambda file: cut(scripted(make(), file)), r"that was cut short; weights"),
    "without its code": (
        archive_with_constants,
        r"to be TorchScript that .*can load, got: .*; export it again",
    ),
}


@pytest.mark.parametrize("case", BAD_TORCHSCRIPT)
def test_a_file_that_is_no_torchscript_is_named(tmp_path, case):
    write, message = BAD_TORCHSCRIPT[case]
    file = tmp_path / "model.ts"
    write(file)

    with pytest.raises((ValueError, FileNotFoundError), match=message):
        load_classifier(torchscript=file)


# --- the fingerprint ------------------------------------------------------------------------------


def test_the_fingerprint_is_of_names_types_shapes_and_values(trained):
    first = weights_fingerprint(trained)
    copy = make()
    copy.load_state_dict(trained.state_dict())
    assert weights_fingerprint(copy.eval()) == first

    prints = {first}
    copy.features[1].running_var[1] += 1e-6
    prints.add(weights_fingerprint(copy))
    prints.add(weights_fingerprint(Wrapped("net", trained)))
    trained.head[1].bias = nn.Parameter(trained.head[1].bias[None])
    prints.add(weights_fingerprint(trained))
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        prints.add(weights_fingerprint(trained.to(dtype)))
    assert len(prints) == 7


@pytest.mark.parametrize("freeze", [False, True])
def test_torchscript_has_a_fingerprint(trained, tmp_path, freeze):
    file = scripted(trained, tmp_path / "a.ts", freeze=freeze)
    other = scripted(make(), tmp_path / "b.ts", freeze=freeze)
    prints = [weights_fingerprint(load_classifier(torchscript=f)) for f in (file, file, other)]

    assert prints[0] == prints[1] != prints[2]
    assert (prints[0] == weights_fingerprint(trained)) == (not freeze)
    wrapped = [Normalized(load_classifier(torchscript=f)) for f in (file, other)]
    assert weights_fingerprint(wrapped[0]) != weights_fingerprint(wrapped[1])


def test_quantised_weights_have_a_fingerprint():
    def quantised(weight):
        layer = nn.Sequential(nn.Linear(60, 60, bias=False))
        nn.init.ones_(layer[0].weight)
        layer[0].weight.data[30, 30] = weight  # in the middle, which is not in the printed form
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.ao.quantization.quantize_dynamic(layer, {nn.Linear})

    prints = [weights_fingerprint(quantised(weight)) for weight in (0.5, 0.5, 0.6)]

    assert prints[0] == prints[1] != prints[2]
