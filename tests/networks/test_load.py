import pickle
import warnings
import zipfile
from collections import OrderedDict

import pytest
import torch
from monai.networks.nets import DenseNet
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from monai_ima.networks import Normalized, load_classifier, small_cnn, weights_fingerprint


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


def test_half_precision_is_loaded_as_the_network_is(trained, tmp_path):
    file = saved(trained.half().state_dict(), tmp_path / "model.pt")

    loaded = load_classifier(make(), checkpoint=file)

    assert_same(loaded, trained.float())


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


@pytest.mark.parametrize(
    ("arguments", "got"),
    [
        ([], "nothing"),
        (["network"], "network"),
        (["checkpoint"], "checkpoint"),
        (["network", "torchscript"], "network and torchscript"),
        (["network", "checkpoint", "torchscript"], "network and checkpoint and torchscript"),
        (["torchscript", "key"], "torchscript and key"),
    ],
)
def test_arguments_that_do_not_go_together(tmp_path, arguments, got):
    values = {"network": make(), "checkpoint": "a", "torchscript": "b", "key": "c"}

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
