"""What is said of a classifier before anybody attacks it."""

import pytest
import torch

from monai_ima.robustness.clean import clean_findings

NAMES = ["0", "1", "2", "10"]
LABELS = torch.arange(40) % 4


def said(predictions, labels=LABELS, names=NAMES):
    return clean_findings(predictions, labels, names)


def test_a_good_classifier_is_not_spoken_of():
    assert said(LABELS) == []
    assert said(torch.where(torch.arange(40) < 28, LABELS, (LABELS + 1) % 4)) == []


def test_at_chance_with_its_causes_and_the_order_of_the_classes():
    (chance,) = said((LABELS + torch.arange(40) // 10) % 4)  # a quarter right, each class its share
    assert "clean accuracy is 0.250 of 40 samples, not above chance, which is 0.250" in chance
    assert "preprocessing" in chance
    assert "order of the classes" in chance
    assert chance.endswith("It is 0, 1, 2, 10")


def test_every_prediction_the_same():
    findings = said(torch.full((40,), 3))
    assert any("every one of 40 samples is given the class 10" in finding for finding in findings)
    assert not any("sensitivity" in finding for finding in findings)  # said already


def test_a_class_that_nobody_is_given():
    (finding,) = said(torch.where(LABELS == 2, 1, LABELS))
    assert finding.startswith("sensitivity of the class 2 is 0: none of its 10 samples")
    rare = torch.cat([torch.zeros(30), torch.ones(4)]).long()
    assert said(torch.zeros(34).long(), rare[:34], ["a", "b"])[0].startswith("every one of 34")
    some = torch.tensor([0] * 30 + [1] * 4 + [2] * 6)
    assert said(some.where(some != 1, 0), some, ["a", "b", "c"]) == []  # four are too few to tell


def test_another_order_of_the_classes_is_named():
    """Trained with folders sorted as text, 0, 1, 10, 2, evaluated with 0, 1, 2, 10."""
    predictions = torch.tensor([0, 1, 3, 2])[LABELS]
    findings = said(predictions)
    assert any("in the order 0, 1, 10, 2 for the logits, 20 more of 40" in f for f in findings)
    # Three classes in a ring: the logit of a is where b's should be, and so on.
    ring = torch.arange(30) % 3
    assert any("in the order c, a, b" in f for f in said((ring + 1) % 3, ring, ["a", "b", "c"]))


@pytest.mark.parametrize("n", [0, 1, 4])
def test_a_handful_of_samples_tells_nothing(n):
    assert said(torch.zeros(n).long(), torch.ones(n).long(), ["a", "b"]) == []
