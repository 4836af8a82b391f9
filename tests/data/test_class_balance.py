import pytest
import torch

from monai_ima.data import TensorSamples, balanced_weights

LABELS = [0, 1, 1, 2, 1, 0, 1, 1]


def items(labels):
    return [{"image": f"{place}.png", "label": label} for place, label in enumerate(labels)]


def tensors(labels):
    return TensorSamples(
        torch.zeros(len(labels), 1, 2), torch.tensor(labels), ids=list(map(str, labels))
    )


@pytest.mark.parametrize("kind", [items, tensors])
def test_each_class_has_the_same_share_and_a_sample_counts_1_on_average(kind):
    weights = balanced_weights(kind(LABELS), num_classes=3)
    assert weights == pytest.approx([8 / 6, 8 / 15, 8 / 3])
    shares = [weights[each] * LABELS.count(each) for each in range(3)]
    assert shares == pytest.approx([8 / 3] * 3)
    assert sum(weights[label] for label in LABELS) / len(LABELS) == pytest.approx(1)


def test_classes_of_one_size_count_alike():
    assert balanced_weights(items([1, 0, 0, 1]), num_classes=2) == [1, 1]


@pytest.mark.parametrize("kind", [items, tensors])
@pytest.mark.parametrize(("labels", "counts"), [([0, 2, 2], "1, 0, 2"), ([0, 1], "1, 1, 0")])
def test_a_class_without_a_training_sample_is_named(kind, labels, counts):
    with pytest.raises(
        ValueError, match=f"each of num_classes=3 classes .*, got {counts} by class"
    ):
        balanced_weights(kind(labels), num_classes=3)
