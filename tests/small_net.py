"""Small networks trained on small problems, for tests that need a curved boundary."""

import torch
from torch import Tensor, nn


def two_rings(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """A disc inside a ring, in [0, 1]^2, as inputs ``(N, 1, 2)`` and labels."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 2
    angle = 2 * torch.pi * torch.rand(count, generator=generator)
    radius = 0.1 + 0.25 * labels + 0.05 * torch.rand(count, generator=generator)
    points = torch.stack([angle.cos(), angle.sin()], dim=1) * radius[:, None] + 0.5
    return points[:, None], labels


def trained_mlp(inputs: Tensor, labels: Tensor, steps: int = 300) -> nn.Module:
    """A perceptron with two hidden layers that classifies these samples."""
    torch.manual_seed(0)
    features, classes = inputs[0].numel(), int(labels.max()) + 1
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(features, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(),
        nn.Linear(64, classes),
    )  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), labels).backward()
        optimizer.step()
    return model


def blobs(
    count: int, features: int = 20, classes: int = 4, spread: float = 0.05, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Gaussian classes around random centres in [0.3, 0.7]^D, as inputs ``(N, 1, D)``."""
    generator = torch.Generator().manual_seed(seed)
    centres = 0.3 + 0.4 * torch.rand(classes, features, generator=generator)
    labels = torch.arange(count) % classes
    noise = spread * torch.randn(count, features, generator=generator)
    return (centres[labels] + noise).clamp(0, 1)[:, None], labels
