"""Algorithm 3 on a curved boundary: which point is found, and that margins can shrink."""

import pytest
import torch
from small_net import blobs, trained_mlp

from monai_ima.attacks import L2, Linf, bpgd, get_norm
from monai_ima.losses import soft_margin

EPS = {"linf": 0.12, "l2": 0.5}
pytestmark = pytest.mark.parametrize("norm", ["linf", "l2"])


@pytest.fixture(scope="module")
def problem():
    inputs, labels = blobs(200)
    model = trained_mlp(inputs, labels)
    assert (model(inputs).argmax(dim=1) == labels).all()
    return model, inputs, labels


def mean_ratio(problem, norm, **options):
    model, inputs, labels = problem
    found = bpgd(model, inputs, labels, eps=EPS[norm], norm=norm, **options)
    assert 0.2 < found.success.float().mean() <= 1
    return (found.distance / EPS[norm])[found.success].mean().item()


def test_default_lets_margins_shrink(problem, norm):
    assert mean_ratio(problem, norm) < 0.97


def test_paper_reading_from_a_random_start_does_not(problem, norm):
    generator = torch.Generator().manual_seed(0)
    ratio = mean_ratio(problem, norm, random_start=True, segment="crossing", generator=generator)
    assert ratio > 0.97


def test_ray_shrinks_from_a_random_start(problem, norm):
    generator = torch.Generator().manual_seed(0)
    ratio = mean_ratio(problem, norm, random_start=True, segment="ray", generator=generator)
    assert ratio < 0.97


@pytest.mark.parametrize("segment", ["crossing", "ray"])
def test_sides_enclose_the_boundary(problem, norm, segment):
    model, inputs, labels = problem
    inside, on, outside = (
        bpgd(
            model, inputs, labels, eps=EPS[norm], norm=norm, bisections=12, segment=segment, side=s
        )
        for s in ("inside", "on", "outside")
    )
    crossed = on.success
    assert torch.equal(inside.success, crossed)
    assert (model(inside.inputs)[crossed].argmax(dim=1) == labels[crossed]).all()
    assert (model(outside.inputs)[crossed].argmax(dim=1) != labels[crossed]).all()
    width = get_norm(norm).length(outside.inputs - inside.inputs)[crossed]
    assert (width <= 2 * EPS[norm] / 2**12).all()
    torch.testing.assert_close(on.inputs, (inside.inputs + outside.inputs) / 2)
    logits = model(on.inputs)[crossed].topk(2).values
    assert (logits[:, 0] - logits[:, 1]).max() < 0.02  # two classes tie on the boundary


def test_case_0_is_the_last_iterate_of_plain_pgd(problem, norm):
    model, inputs, labels = problem
    found = bpgd(model, inputs, labels, eps=EPS[norm] / 8, norm=norm)
    assert not found.success.all()
    expected, crossed, _ = plain_bpgd(model, inputs, labels, EPS[norm] / 8, get_norm(norm))
    torch.testing.assert_close(found.inputs[~crossed], expected[~crossed])


@pytest.mark.parametrize("segment", ["crossing", "ray"])
def test_leaving_the_crossed_out_changes_nothing(problem, norm, segment):
    model, inputs, labels = (part.double() if hasattr(part, "double") else part for part in problem)
    labels = labels.long()
    eps = EPS[norm] * torch.linspace(0.1, 1, len(inputs), dtype=torch.float64)
    expected, crossed, _ = plain_bpgd(model, inputs, labels, eps, get_norm(norm), segment)
    found = bpgd(model, inputs, labels, eps=eps, norm=norm, segment=segment)
    model.float()
    assert torch.equal(found.success, crossed)
    assert 0 < crossed.sum() < len(crossed)
    torch.testing.assert_close(found.inputs, expected)


def test_misclassified_sample_crosses_at_distance_zero(problem, norm):
    model, inputs, labels = problem
    found = bpgd(model, inputs[:7], 1 - labels[:7].clamp(max=1), eps=0.1, norm=norm)
    assert found.success.all()
    assert (found.distance == 0).all()


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"segment": "chord"}, r"segment to be one of \('crossing', 'ray'\), got 'chord'"),
        ({"side": "left"}, r"side to be one of \('on', 'inside', 'outside'\), got 'left'"),
        ({"bisections": -1}, "bisections to be a whole number >= 0, got -1"),
    ],
)
def test_unknown_options_are_refused(problem, norm, option, message):
    with pytest.raises(ValueError, match=message):
        bpgd(*problem, eps=0.1, norm=norm, **option)


def plain_bpgd(model, inputs, labels, eps, norm: Linf | L2, segment="crossing", steps=20):
    """The plain reading of Algorithm 3: the whole sequence of every sample, then the search."""
    eps = torch.as_tensor(eps, dtype=inputs.dtype).expand(len(inputs))
    sequence = [inputs]
    for _ in range(steps):
        point = sequence[-1].clone().requires_grad_()
        (gradient,) = torch.autograd.grad(soft_margin(model(point), labels).sum(), point)
        step = (4 * eps / steps)[:, None, None] * norm.direction(gradient)
        delta = norm.project(sequence[-1] + step - inputs, eps)
        sequence.append((inputs + delta).clamp(0, 1))
    found, crossed, distance = [], [], []
    with torch.no_grad():
        for i, label in enumerate(labels):
            path = [iterate[i : i + 1] for iterate in sequence]
            wrong = [k for k, point in enumerate(path) if model(point).argmax() != label]
            point = path[-1]
            if wrong:
                first = wrong[0]
                inside, outside = path[first - 1 if segment == "crossing" else 0], path[first]
                for _ in range(10):
                    middle = (inside + outside) / 2
                    if model(middle).argmax() == label:
                        inside = middle
                    else:
                        outside = middle
                point = (inside + outside) / 2
            found.append(point)
            crossed.append(bool(wrong))
    return torch.cat(found), torch.tensor(crossed), distance
