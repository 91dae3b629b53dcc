"""Pretrained weights placed into the encoder, whatever bands and normalization it has."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from landcover_tf.bands import counterparts
from landcover_tf.errors import ModelError
from landcover_tf.models.resnet import ARCHITECTURES, STAGES
from landcover_tf.models.unet import encoder_layer_names, encoder_stages
from landcover_tf.models.weight_files import Tensors, read_tensors, torch_name
from landcover_tf.models.weight_origins import Origin, find_origin
from landcover_tf.system.files import sha256_of

NORMALIZATION = ("weight", "bias", "running_mean", "running_var")
"""PyTorch's names of gamma, beta, moving mean and moving variance."""


@dataclass(frozen=True, kw_only=True)
class LoadedWeights:
    """What was loaded, for logs and for the run's record."""

    source: str
    """The value of `--encoder-weights`."""
    file: str
    """Name of the file."""
    sha256: str
    url: str
    """Where published weights come from, empty for own files."""
    license: str
    """Licence of published weights, empty for own files."""
    mean_bands: tuple[str, ...]
    """Model bands unknown to the weights, which got the mean filter."""
    unused_bands: tuple[str, ...]
    """Bands of the weights that the model does not have."""
    synonyms: tuple[str, ...] = ()
    """Model bands with the filters of a band of another name, as "red as B04"."""

    @property
    def summary(self) -> str:
        """One line for the terminal."""
        parts = [f"encoder weights {self.source} ({self.file})"]
        if self.synonyms:
            expected = ", in reflectance as published weights expect it" if self.url else ""
            parts.append(f"taken: {', '.join(self.synonyms)}{expected}")
        if self.mean_bands:
            parts.append(f"mean filter for {', '.join(self.mean_bands)}")
        if self.unused_bands:
            parts.append(f"filters of {', '.join(self.unused_bands)} unused")
        return "; ".join(parts)


def load_encoder_weights(
    model: keras.Model, source: str, band_names: Sequence[str]
) -> LoadedWeights | None:
    """Puts pretrained weights into the encoder of `model`.

    Bands are matched by name, or else by what the names stand for: red is B04. A model band that
    the weights do not know gets the mean of their filters, and all filters are scaled by (bands
    of the weights) / (bands of the model), so that a grey image excites the network as it did
    before.

    Published weights expect a certain normalization of reflectance. Where the model's normalizer
    is another, the difference is folded into the first convolution and the mean of the first
    batch normalization: the network computes the same features under every normalizer, but for
    values that a normalizer clips and a rim of 3 pixels, whose zero padding stands for another
    reflectance.

    Args:
        model: A model of `build_unet`.
        source: A name of `pretrained.SOURCES`, "none", or a file: `.pth`, `.safetensors`, or the
            `.weights.h5` of an earlier run, whose bands and normalizer are read from the
            `model_spec.json` beside it. A file that bears the name of published weights is taken
            for them. Other files with 13 channels are taken to be in Sentinel-2 order, with 3
            channels to be red, green, blue, with as many channels as the model to be in its
            order, and to expect what the model's normalizer gives.
        band_names: Bands of the model's input, in order.

    Returns:
        What was loaded, None for "none".

    Raises:
        ModelError: The weights are unknown, cannot be had, or do not fit exactly.
    """
    if source == "none":
        return None
    encoder = encoder_of(model)
    origin = find_origin(source, encoder)
    tensors = dict(read_tensors(origin.path))
    _check_tensors(model, tensors, origin.path, encoder)
    bands = origin.bands_of(tensors["conv1.weight"].shape[1], band_names)
    kernel = adapt_first_kernel(tensors["conv1.weight"], bands, band_names, str(origin.path))
    if origin.expected:
        _check_logarithm(model, origin)
        mean, std = (_per_band(values, bands, band_names) for values in origin.expected)
        kernel, shift = _fold_normalization(model, kernel, mean, std)
        tensors["bn1.running_mean"] = tensors["bn1.running_mean"] - shift
    tensors["conv1.weight"] = kernel
    _assign(model, tensors)
    placed = counterparts(band_names, bands)
    return LoadedWeights(
        source=source,
        file=origin.path.name,
        sha256=sha256_of(origin.path),
        url=origin.url,
        license=origin.license,
        mean_bands=tuple(band for band in band_names if band not in placed),
        unused_bands=tuple(band for band in bands if band not in placed.values()),
        synonyms=tuple(f"{own} as {band}" for own, band in placed.items() if own != band),
    )


def adapt_first_kernel(
    kernel: np.ndarray, bands: Sequence[str], wanted: Sequence[str], where: str
) -> np.ndarray:
    """Returns the first convolution for other bands.

    Args:
        kernel: float [filters, bands, height, width].
        bands: Band of each channel of `kernel`.
        wanted: Bands of the result.
        where: The file, for the error message.

    Returns:
        float32 [filters, wanted bands, height, width].

    Raises:
        ModelError: Channels and `bands` disagree, or no wanted band is among `bands`.
    """
    if kernel.shape[1] != len(bands):
        raise ModelError(
            f"{where}: conv1 has {kernel.shape[1]} channels, expected {len(bands)}: "
            f"{', '.join(bands)}"
        )
    placed = counterparts(wanted, bands)
    if not placed:
        raise ModelError(
            f"none of the model's bands ({', '.join(wanted)}) is among those of {where} "
            f"({', '.join(bands)}); build the dataset again and name the bands as those that they "
            "are (such as --bands B04 B03 B02 --band-indexes 1 2 3), or take --encoder-weights none"
        )
    kernel = kernel.astype(np.float32)
    mean = kernel.mean(axis=1)
    filters = [kernel[:, list(bands).index(placed[b])] if b in placed else mean for b in wanted]
    return np.stack(filters, axis=1) * np.float32(len(bands) / len(wanted))


def encoder_of(model: keras.Model) -> str:
    """Returns the name of a model's encoder, found by its layers.

    Raises:
        ModelError: It has no encoder of this package.
    """
    stages = encoder_stages(model)
    blocks = tuple(
        len({name.split("_")[2] for name in names})
        for stage, names in stages.items()
        if stage != "stem"
    )
    bottleneck = any(name.endswith("_conv3") for name in stages["layer1"])
    fitting = [
        name
        for name, shape in ARCHITECTURES.items()
        if (shape.blocks[: len(blocks)], shape.bottleneck) == (blocks, bottleneck)
    ]
    if fitting:
        # Without their deeper stages, ResNet-50 and 101 differ in name only.
        return next((name for name in fitting if model.name.startswith(name)), fitting[0])
    raise ModelError(f"the encoder of {model.name!r} has unknown depth {blocks}")


def _per_band(
    values: Sequence[float], bands: Sequence[str], band_names: Sequence[str]
) -> np.ndarray:
    """Returns the value of each model band; a band unknown to the weights gets their mean."""
    known, placed = dict(zip(bands, values, strict=True)), counterparts(band_names, bands)
    return np.array([known[placed[b]] if b in placed else np.mean(values) for b in band_names])


def _check_logarithm(model: keras.Model, origin: Origin) -> None:
    found = model.get_layer("normalizer").log_offset
    if found != origin.log_offset:
        words = [
            "reflectance" if o is None else "its logarithm" for o in (origin.log_offset, found)
        ]
        raise ModelError(
            f"the weights of {origin.path} expect {words[0]}, but the model's normalizer gives "
            f"{words[1]}, and a convolution cannot make one of the other; choose another "
            "--normalizer (`reflectance` fits published weights) or --encoder-weights none"
        )


def _fold_normalization(
    model: keras.Model, kernel: np.ndarray, mean: np.ndarray, std: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the kernel for the model's own normalized input, and what conv1 then lacks.

    The model's layer gives y = (r - shift) * factor, the weights expect z = (r - mean) / std,
    where r is reflectance or its logarithm in both.
    So z = y / (factor * std) + (shift - mean) / std: the first part scales the kernel, the second
    adds a constant to each filter's response, which the next layer's mean takes up.
    """
    normalizer = model.get_layer("normalizer")
    shift, factor = np.array(normalizer.shift), np.array(normalizer.factor)
    scale = 1 / (factor * std)
    # Rounded, because 1 / (1 / x) differs from x in the last digit and parity should be exact.
    scale = np.where(np.isclose(scale, 1, rtol=1e-12), 1.0, scale)
    offset = (shift - mean) / std
    constant = (kernel.sum(axis=(2, 3), dtype=np.float64) * offset).sum(axis=1)
    scaled = kernel * scale.astype(np.float32)[None, :, None, None]
    return scaled, constant.astype(np.float32)


def _expected_shapes(model: keras.Model) -> dict[str, tuple[int, ...]]:
    """Returns the PyTorch shape of every encoder tensor by torchvision name."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name in encoder_layer_names(model):
        layer, key = model.get_layer(name), torch_name(name)
        if isinstance(layer, keras.layers.Conv2D):
            height, width, inputs, outputs = layer.kernel.shape
            shapes[f"{key}.weight"] = (outputs, inputs, height, width)
        else:
            shapes |= {f"{key}.{part}": tuple(layer.gamma.shape) for part in NORMALIZATION}
    return shapes


def _check_tensors(model: keras.Model, tensors: Tensors, path: Path, encoder: str) -> None:
    """Checks names and shapes; the number of conv1's channels is settled later.

    Raises:
        ModelError: Something is missing, superfluous or of another shape; nothing was changed.
    """
    expected = _expected_shapes(model)
    problems = [f"lacks {name}" for name in expected if name not in tensors]
    # The stages of a deeper encoder than the model's are left aside whole.
    beyond = tuple(f"{stage}." for stage in STAGES[len(encoder_stages(model)) :])
    problems += [
        f"has unexpected {name}"
        for name in tensors
        if name not in expected and not name.startswith(beyond)
    ]
    for name, shape in expected.items():
        found = tensors[name].shape if name in tensors else shape
        if name == "conv1.weight" and len(found) == 4:
            found = (found[0], shape[1], *found[2:])
        if found != shape:
            problems.append(f"has {name} of shape {found}, expected {shape}")
    if problems:
        more = f" and {len(problems) - 3} more differences" if len(problems) > 3 else ""
        raise ModelError(
            f"{path} does not fit {encoder}: it {', '.join(problems[:3])}{more}; weights are "
            "never loaded in part"
        )


def _assign(model: keras.Model, tensors: Tensors) -> None:
    for name in encoder_layer_names(model):
        layer, key = model.get_layer(name), torch_name(name)
        if isinstance(layer, keras.layers.Conv2D):
            layer.kernel.assign(tensors[f"{key}.weight"].transpose(2, 3, 1, 0))
            continue
        variables = (layer.gamma, layer.beta, layer.moving_mean, layer.moving_variance)
        for variable, part in zip(variables, NORMALIZATION, strict=True):
            variable.assign(tensors[f"{key}.{part}"])
