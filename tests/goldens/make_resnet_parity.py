"""Makes `resnet_parity.npz`: feature levels of PyTorch ResNets that the encoder must reproduce.

The networks have the layout of torchvision's `resnet.py` and weights that come from
`landcover_tf`-free arithmetic on tensor names, so that a test can make the same weights without
PyTorch. Only sums and samples of the levels are stored.

Run with PyTorch installed: python tests/goldens/make_resnet_parity.py
"""

import zlib
from collections import OrderedDict
from pathlib import Path

import numpy as np

GOLDEN = Path(__file__).with_name("resnet_parity.npz")
CASES = {"resnet18": 64, "resnet50": 96}
"""Input height of each network; the width is 32 more, so that swapped axes would show."""
BANDS = 13
SAMPLES = 256


def image(height: int) -> np.ndarray:
    """Returns reflectance-like values, float32 [1, height, height + 32, BANDS]."""
    return np.random.default_rng(7).random((1, height, height + 32, BANDS), np.float32)


def tensor(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Returns the weights of that name, the same on every machine; batch statistics included."""
    random = np.random.default_rng(zlib.crc32(name.encode()))
    values = random.standard_normal(shape, np.float32)
    if len(shape) == 4:
        return values * np.float32(np.sqrt(2 / np.prod(shape[1:])))
    if name.endswith(("running_var", "weight")):
        return np.abs(values) * np.float32(0.2) + np.float32(0.5)
    return values * np.float32(0.1)


def sampled(level: np.ndarray) -> np.ndarray:
    """Returns some values of a level [1, height, width, channels], its mean and its extent."""
    picks = np.random.default_rng(3).integers(0, level.size, SAMPLES)
    extent = (*level.shape[1:], np.abs(level).max())
    return np.array([*level.reshape(-1)[picks], level.mean(dtype=np.float64), *extent], np.float32)


def build(depth: str):
    """Returns a module with torchvision's layout, giving five levels."""
    from torch import nn

    class Block(nn.Module):
        def __init__(self, inputs: int, width: int, stride: int, bottleneck: bool) -> None:
            super().__init__()
            outputs = width * (4 if bottleneck else 1)
            sizes = (
                [(inputs, width, 1, 1), (width, width, 3, stride), (width, outputs, 1, 1)]
                if bottleneck
                else [(inputs, width, 3, stride), (width, width, 3, 1)]
            )
            self.count = len(sizes)
            for i, (a, b, kernel, step) in enumerate(sizes, start=1):
                setattr(self, f"conv{i}", nn.Conv2d(a, b, kernel, step, kernel // 2, bias=False))
                setattr(self, f"bn{i}", nn.BatchNorm2d(b))
            if stride > 1 or inputs != outputs:
                convolution = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
                self.downsample = nn.Sequential(convolution, nn.BatchNorm2d(outputs))
            self.relu = nn.ReLU()

        def forward(self, x):
            y = x
            for i in range(1, self.count + 1):
                y = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(y))
                y = self.relu(y) if i < self.count else y
            return self.relu(y + (self.downsample(x) if hasattr(self, "downsample") else x))

    class ResNet(nn.Module):
        def __init__(self, blocks: tuple[int, ...], bottleneck: bool) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(BANDS, 64, 7, 2, 3, bias=False)
            self.bn1 = nn.BatchNorm2d(64)
            self.pool = nn.MaxPool2d(3, 2, 1)
            inputs = 64
            for number, count in enumerate(blocks, start=1):
                width, parts = 32 * 2**number, []
                for index in range(count):
                    stride = 2 if number > 1 and index == 0 else 1
                    parts.append(Block(inputs, width, stride, bottleneck))
                    inputs = width * (4 if bottleneck else 1)
                setattr(self, f"layer{number}", nn.Sequential(*parts))

        def forward(self, x):
            levels = [self.bn1(self.conv1(x)).relu()]
            x = self.pool(levels[0])
            for number in range(1, 5):
                x = getattr(self, f"layer{number}")(x)
                levels.append(x)
            return levels

    blocks = {"resnet18": (2, 2, 2, 2), "resnet50": (3, 4, 6, 3)}[depth]
    return ResNet(blocks, bottleneck=depth == "resnet50").eval()


def state_dict(depth: str):
    """Returns the state dict of `build(depth)` with the weights of `tensor`."""
    import torch

    return OrderedDict(
        (name, value if "num_batches" in name else torch.from_numpy(tensor(name, value.shape)))
        for name, value in build(depth).state_dict().items()
    )


def levels(depth: str) -> list[np.ndarray]:
    """Returns the five levels of the PyTorch network, float32 [1, height, width, channels]."""
    import torch

    network = build(depth)
    network.load_state_dict(state_dict(depth))
    with torch.no_grad():
        inputs = torch.from_numpy(image(CASES[depth]).transpose(0, 3, 1, 2).copy())
        return [level.numpy().transpose(0, 2, 3, 1) for level in network(inputs)]


if __name__ == "__main__":
    golden = {
        f"{depth}_{number}": sampled(level)
        for depth in CASES
        for number, level in enumerate(levels(depth))
    }
    np.savez_compressed(GOLDEN, **golden)
    print(f"{GOLDEN}: {GOLDEN.stat().st_size} bytes")
