"""Signs of a mistake before the attack, in answers whose counts are given."""

import itertools

import pytest
import torch

from monai_ima.robustness import clean_findings
from monai_ima.robustness.clean import in_order, matching

NAMES = ["CNV", "DME", "DRUSEN", "NORMAL"]


def found(counts, names=None):
    """The findings, by name, in answers of which so many ``[true][given]`` there are."""
    counts = torch.as_tensor(counts)
    names = NAMES[: len(counts)] if names is None else names
    cells = counts.nonzero().repeat_interleave(counts[counts > 0], dim=0)
    findings = clean_findings(cells[:, 1], cells[:, 0], names, (0.0, 1.0))
    return {finding.name: finding for finding in findings}


@pytest.mark.parametrize(
    "counts",
    [
        [[9, 1], [1, 9]],
        # Balanced in training: an accuracy of 0.82, where the larger class is 0.9 of the samples.
        [[740, 160], [20, 80]],
        # Screening: half of the rare are found, a fifth of those called back have it.
        [[970, 20], [5, 5]],
        # One class only, which says nothing of the others.
        [[0, 0], [15, 35]],
        [[50, 0], [0, 0]],
        [[6, 1, 1, 2], [1, 7, 1, 1], [2, 0, 5, 3], [1, 1, 1, 7]],
        torch.eye(4).long(),
    ],
)
def test_nothing_is_found_in_a_model_that_works(counts):
    assert found(counts) == {}


@pytest.mark.parametrize(
    "counts",
    [
        [[1, 1], [1, 1]],
        [[2, 2], [2, 2]],
        [[2, 1, 0, 0], [0, 1, 1, 0], [1, 0, 0, 1], [0, 0, 1, 1]],
        [[4, 0], [3, 1]],
        [[60, 0], [2, 1]],
        [[0, 0, 4], [0, 2, 0], [0, 0, 2]],
    ],
    ids=str,
)
def test_few_samples_do_not_cry_wolf(counts):
    assert found(counts) == {}


def test_no_sample_at_all():
    assert found(torch.zeros(2, 2).long()) == {}


@pytest.mark.parametrize("n", [1, 7, 400])
def test_nothing_correct_is_said_of_any_number(n):
    findings = found([[0, n, n], [0, 0, 0], [n, n, 0]] if n > 1 else [[0, 1], [0, 0]])
    assert list(findings) == ["nothing_correct"]
    verdict = findings["nothing_correct"].verdict
    what = "the only sample is misclassified" if n == 1 else f"none of {4 * n} samples is correct"
    assert verdict == f"clean accuracy is 0.000: {what}, and there is nothing to attack"


@pytest.mark.parametrize(
    ("counts", "accuracy", "balanced", "chance"),
    [
        ([[25] * 4] * 4, 0.25, 0.25, 0.25),
        ([[1, 3], [2, 2]], 0.375, 0.375, 0.5),
        ([[15, 9], [17, 9]], 0.48, (15 / 24 + 9 / 26) / 2, 0.5),
        # An accuracy of 0.82, by preferring what is frequent.
        ([[810, 90], [90, 10]], 0.82, 0.5, 0.5),
        ([[30, 30, 0], [30, 30, 0], [0, 0, 0]], 0.5, 0.5, 0.5),
        # A hundredth better than chance is no better, however sure that is.
        ([[5100, 4900], [4900, 5100]], 0.51, 0.51, 0.5),
        ([[1, 9], [9, 1]], 0.1, 0.1, 0.5),
    ],
)
def test_accuracy_at_chance(counts, accuracy, balanced, chance):
    finding = found(counts)["chance"]
    assert finding.figures == pytest.approx(
        {"accuracy": accuracy, "balanced_accuracy": balanced, "chance": chance}
    )
    where = "hardly above" if balanced > chance else "at or below"
    assert finding.verdict == (
        f"clean accuracy is {where} chance: {accuracy:.3f}, and {balanced:.3f} balanced over the "
        f"classes, where guessing has {chance:.3f}"
    )
    for cause in (
        "values from 0 to 1 were seen",
        "transposed",
        "weights of another",
        "0: CNV, 1: D",
    ):
        assert cause in finding.advice


def test_every_prediction_the_same_class():
    findings = found([[0, 60, 0], [0, 90, 0], [0, 0, 0]])
    assert list(findings) == ["one_class"]
    finding = findings["one_class"]
    assert finding.verdict == (
        "every prediction is DME, though 60 of 150 samples are not: a model that gives every case one "
        "answer is of no use, whatever its accuracy"
    )
    assert "values from 0 to 1 were seen" in finding.advice
    assert "a training that was too short, or collapsed" in finding.advice
    assert list(found([[0, 5], [0, 900]])) == ["one_class"]
    assert list(found([[0, 0, 5], [0, 0, 6], [0, 0, 0]])) == ["nothing_correct", "one_class"]


@pytest.mark.parametrize(
    ("counts", "others", "n"),
    [([[4, 0], [4, 0]], 4, 8), ([[60, 0], [3, 0]], 3, 63), ([[1, 0], [1, 0]], 1, 2)],
    ids=str,
)
def test_one_answer_for_every_case_is_of_no_use_however_few_are_of_other_classes(counts, others, n):
    findings = found(counts)
    assert list(findings) == ["one_class"]
    assert findings["one_class"].verdict == (
        f"every prediction is CNV, though {others} of {n} samples are not; {others} may be missed by "
        "chance, so evaluate more of them: a model that gives every case one answer is of no use, "
        "whatever its accuracy"
    )
    assert findings["one_class"].figures == {"class": "CNV", "n": n, "others": others}


def test_a_class_of_which_none_is_recognised():
    findings = found([[40, 0, 0, 0], [2, 3, 0, 0], [5, 0, 0, 0], [4, 0, 0, 0]])
    assert list(findings) == ["sensitivity"]
    finding = findings["sensitivity"]
    assert finding.verdict == "not one sample is recognised of DRUSEN (0 of 5)"
    assert finding.figures == {"classes": ["DRUSEN"]}
    assert "0: CNV, 1: DME, 2: DRUSEN, 3: NORMAL" in finding.advice
    assert "values from 0 to 1 were seen" in finding.advice  # as 255 times too large ones


# The order of the classes


def permuted(order, n=20, right=18):
    """A model of which so many of each class are right, but whose output k is the class order[k]."""
    classes = len(order)
    counts = torch.zeros(classes, classes).long()
    for place, true in enumerate(order):
        counts[true, place] = right
        counts[true, (place + 1) % classes] += n - right
    return counts


def test_folders_sorted_as_text():
    """As torchvision sorts them: 0, 1, 10, 11, 2, ..."""
    names = [str(number) for number in range(12)]
    as_text = sorted(names)
    findings = found(permuted([int(name) for name in as_text]), names)

    assert list(findings) == ["class_order", "chance", "sensitivity"]
    assert findings["sensitivity"].figures["classes"] == names[2:]
    finding = findings["class_order"]
    assert finding.figures == {"classes": as_text}
    assert finding.verdict == (
        "with the classes in the order 0: 0, 1: 1, 2: 10, 3: 11, 4: 2, 5: 3, 6: 4, 7: 5, 8: 6, "
        "9: 7, 10: 8, 11: 9 (sorted as text, as torchvision sorts folders), clean accuracy would "
        "be 0.900 and not 0.150"
    )
    assert "give it as classes" in finding.advice


@pytest.mark.parametrize("order", [(1, 0), (1, 2, 3, 0), (3, 1, 2, 0)], ids=str)
@pytest.mark.parametrize("right", [20, 18])
def test_any_other_order(order, right):
    finding = found(permuted(order, right=right))["class_order"]
    assert finding.figures["classes"] == [NAMES[true] for true in order]
    assert f"would be {right / 20:.3f} and not" in finding.verdict
    assert "text" not in finding.verdict or order == tuple(sorted(order))


def test_nothing_correct_has_an_order_too():
    findings = found(permuted((1, 2, 0), right=20))
    assert list(findings) == ["nothing_correct", "class_order"]


def test_an_order_is_no_matter_of_chance():
    """With as many orders as there are, one of them fits any answers a little."""
    generator = torch.Generator().manual_seed(0)
    for classes in (2, 4, 10, 100):
        for _ in range(50):
            given = torch.randint(classes, (5 * classes,), generator=generator)
            labels = torch.arange(5 * classes) % classes
            names = list(map(str, range(classes)))
            findings = clean_findings(given, labels, names, (0.0, 1.0))
            assert "class_order" not in {finding.name for finding in findings}


def test_two_classes_of_many_that_are_exchanged():
    """Eight of ten are right, and so is most of the accuracy."""
    findings = found(permuted((0, 1, 2, 3, 4, 9, 6, 7, 8, 5)), list("abcdefghij"))
    assert list(findings) == ["class_order", "sensitivity"]
    assert findings["class_order"].figures["classes"] == list("abcdejghif")


def test_a_class_without_samples_takes_what_is_left():
    counts = permuted((1, 0, 2))
    counts[2] = 0
    assert found(counts)["class_order"].figures["classes"] == ["DME", "CNV", "DRUSEN"]


def test_matching_is_the_best_order_where_each_class_is_mostly_given_another():
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        counts = torch.randint(0, 9, (5, 5), generator=generator)
        best = torch.randperm(5, generator=generator)
        counts[torch.arange(5), best] += 9
        sums = {
            order: int(counts[torch.arange(5), list(order)].sum())
            for order in itertools.permutations(range(5))
        }
        assert tuple(matching(counts).tolist()) == max(sums, key=sums.get) == tuple(best.tolist())
    assert matching(torch.zeros(3, 3).long()).tolist() == [0, 1, 2]
    assert matching(torch.tensor([[5, 9], [0, 8]])).tolist() == [1, 0]


def test_of_many_classes_the_first_are_named():
    names = [f"c{number}" for number in range(30)]
    assert in_order(names).endswith("18: c18, 19: c19, ...")
    assert in_order(names[:2]) == "0: c0, 1: c1"


@pytest.mark.parametrize(("predictions", "labels"), [([0, 2], [0, 1]), ([0, 1], [0, 2])])
def test_more_classes_than_names_are_refused(predictions, labels):
    with pytest.raises(ValueError, match=r"below 2, the number of classes, got 2; correct"):
        clean_findings(torch.tensor(predictions), torch.tensor(labels), "ab", (0.0, 1.0))


def test_findings_are_plain_values():
    finding = found([[0, 9], [0, 0]])["nothing_correct"]
    assert finding.to_dict() == {
        "name": "nothing_correct",
        "verdict": finding.verdict,
        "advice": finding.advice,
        "figures": {"n": 9},
    }
