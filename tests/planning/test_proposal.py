"""From margins to settings: the arithmetic of a plan."""

import math

import pytest
import torch

from monai_ima.planning import propose

# median 0.01 of the eleven correct ones
MARGINS = torch.tensor([0.0, 0.0, 0.0055, *(0.005 + 0.001 * number for number in range(1, 11))])


def settings(**given):
    defaults = {"largest": 1.0, "margin_interval": 2, "fewest_epochs": 10}
    return propose(MARGINS, **defaults | given)


def test_all_follows_from_the_median_margin_of_the_correct_ones():
    plan = settings()
    assert plan.margin == pytest.approx(0.01)
    assert plan.noise_levels == (0.0, 0.0025, 0.005, 0.01, 0.015, 0.02)
    assert plan.eps_max == 0.08
    assert plan.delta == pytest.approx(0.005)
    assert plan.max_epochs == 32  # 16 updates by half a margin, every second epoch
    assert plan.nearer == 0


@pytest.mark.parametrize(
    ("interval", "fewest", "epochs", "delta"),
    [(1, 10, 16, 0.005), (3, 10, 48, 0.005), (2, 50, 50, 0.0032)],
)
def test_epochs_let_a_margin_grow_to_eps_max(interval, fewest, epochs, delta):
    plan = settings(margin_interval=interval, fewest_epochs=fewest)
    assert plan.max_epochs == epochs
    assert plan.delta == pytest.approx(delta)
    assert plan.delta * (epochs // interval) == pytest.approx(plan.eps_max, abs=plan.delta)


def test_epochs_that_are_given_make_delta():
    plan = settings(max_epochs=8)
    assert plan.max_epochs == 8
    assert plan.delta == pytest.approx(0.02)
    assert plan.nearer == 1


def test_one_update_is_the_least():
    assert settings(max_epochs=1).delta == settings().eps_max


def test_eps_max_that_is_given_makes_the_levels():
    plan = settings(eps_max=0.3)
    assert plan.eps_max == 0.3
    assert plan.noise_levels[-1] == 0.075
    assert plan.max_epochs == 120  # 60 updates


def test_levels_that_are_given_make_eps_max():
    plan = settings(noise_levels=[0, 0.004])
    assert plan.noise_levels == (0, 0.004)
    assert plan.eps_max == 0.016
    both = settings(noise_levels=[0, 0.004], eps_max=0.02)
    assert (both.noise_levels, both.eps_max) == ((0, 0.004), 0.02)


def test_eps_max_leaves_inputs_their_class():
    plan = settings(largest=0.1)
    assert plan.eps_max == 0.05
    assert plan.noise_levels[-1] == 0.0125


def test_numbers_are_round():
    plan = propose(MARGINS * math.pi, largest=1, margin_interval=1, fewest_epochs=1)
    assert plan.eps_max == 0.25
    assert plan.noise_levels[1:3] == (0.00781, 0.0156)


def test_margins_for_which_nothing_was_found_are_large():
    some = torch.cat([MARGINS[2:], torch.full((10,), math.inf)])
    assert propose(some, largest=1, margin_interval=1, fewest_epochs=1).margin == pytest.approx(
        0.015
    )
    with pytest.raises(ValueError, match="got none near 12 of 23 samples"):
        propose(
            torch.cat([some, torch.full((2,), math.inf)]),
            largest=1,
            margin_interval=1,
            fewest_epochs=1,
        )


def test_too_few_correct_samples_are_rejected():
    with pytest.raises(ValueError, match=r"at least 10 correctly classified .* got 9 of 11"):
        propose(MARGINS[:11], largest=1, margin_interval=1, fewest_epochs=1)
