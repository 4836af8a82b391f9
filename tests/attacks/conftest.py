"""A small classifier of images, for attacks that are compared with each other or with a peer's."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

CLASSES, SIZE = 5, 12


def noisy_patterns(count, seed):
    """Five smooth patterns under noise, as inputs ``(N, 1, 12, 12)`` in [0, 1] and labels."""
    coarse = torch.rand(CLASSES, 1, 4, 4, generator=torch.Generator().manual_seed(99))
    patterns = 0.2 + 0.6 * F.interpolate(coarse, size=(SIZE, SIZE), mode="bilinear")
    labels = torch.arange(count) % CLASSES
    noise = torch.randn(count, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))
    return (patterns[labels] + 0.18 * noise).clamp(0, 1), labels


@pytest.fixture(scope="session")
def images():
    """A trained network in eval mode, and 400 samples that it classifies correctly."""
    inputs, labels = noisy_patterns(1000, seed=0)
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16 * (SIZE // 2) ** 2, CLASSES),
    )
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    for step in range(150):
        rows = torch.arange(128) + 128 * step
        optimizer.zero_grad()
        F.cross_entropy(model(inputs[rows % 1000]), labels[rows % 1000]).backward()
        optimizer.step()
    inputs, labels = noisy_patterns(420, seed=1)
    with torch.no_grad():
        correct = model(inputs).argmax(dim=1) == labels
    assert correct.sum() >= 400
    return model.eval(), inputs[correct][:400], labels[correct][:400]
