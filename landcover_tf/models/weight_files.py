"""Encoder tensors out of `.pth`, `.safetensors` and `.weights.h5` files, without PyTorch.

Whatever the file, tensors come back under torchvision names (`layer1.0.conv1.weight`) and in
PyTorch's layout, so that one piece of code places them.
"""

import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from landcover_tf.errors import ModelError
from landcover_tf.models.resnet import PREFIX

Tensors = dict[str, np.ndarray]
"""Arrays by torchvision name; convolutions are [out, in, height, width]."""

SUFFIXES = (".pth", ".pt", ".safetensors", ".weights.h5")

# Little-endian element types of PyTorch storages; bfloat16 is widened after reading.
_STORAGES = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "BFloat16Storage": "<u2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "<i1",
    "ByteStorage": "<u1",
    "BoolStorage": "|b1",
}
# Checkpoints of training programs hold the network's tensors under one of these keys.
_WRAPPERS = ("state_dict", "model_state_dict", "model", "teacher", "network")
# What wrappers of a ResNet put before its names; the longest that fits is removed.
_PREFIXES = (
    *("module.encoder_q.", "encoder_q.", "module.backbone.", "backbone.", "module.encoder."),
    *("encoder.", "module.", "model.vision_encoder.", "model.", "resnet."),
)
# First number of the format before the zip files of PyTorch 1.6 (torch/serialization.py).
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C


def read_tensors(path: str | Path) -> Tensors:
    """Returns the ResNet tensors of a weights file, without the classification head.

    Raises:
        ModelError: The file is missing, of another format, or holds no ResNet.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelError(f"there is no weights file {path}")
    try:
        if path.name.endswith(".weights.h5"):
            return _read_keras(path)
        if path.suffix == ".safetensors":
            return _only_encoder(_read_safetensors(path), path)
        if path.suffix in (".pth", ".pt"):
            return _only_encoder(read_torch(path), path)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, EOFError) as error:
        raise ModelError(f"{path} cannot be read as weights: {error}") from error
    raise ModelError(f"{path}: expected a file ending in {', '.join(SUFFIXES)}")


def read_torch(path: Path) -> Mapping[str, Any]:
    """Returns what `torch.save` stored, tensors as arrays, running none of the file's code.

    Raises:
        ModelError: The file holds something else than tensors in plain containers.
    """
    try:
        loaded = _read_zip(path) if zipfile.is_zipfile(path) else _read_legacy(path)
    except (ModelError, OSError):
        raise
    except Exception as error:  # A damaged pickle or archive may raise anything.
        raise ModelError(
            f"{path} is not a plain PyTorch state dict ({error}); save model.state_dict() or "
            "convert the file to .safetensors"
        ) from error
    if not isinstance(loaded, Mapping):
        raise ModelError(f"{path} holds a {type(loaded).__name__}, expected a state dict")
    return loaded


class _TensorUnpickler(pickle.Unpickler):
    """Rebuilds tensors as arrays and refuses every other class or function.

    A pickle is a program; this table is all it may call.
    """

    def __init__(self, file: IO[bytes], storage: Callable[[tuple[Any, ...]], np.ndarray]) -> None:
        super().__init__(file, encoding="utf-8")
        self._storage = storage

    def find_class(self, module: str, name: str) -> Any:
        if module in ("torch", "torch.storage") and name in _STORAGES:
            return name
        allowed = {
            ("collections", "OrderedDict"): OrderedDict,
            # New each time, because a pickle can set attributes of what it refers to.
            ("torch._utils", "_rebuild_tensor_v2"): lambda *values: _rebuild_tensor(*values),
            ("torch._utils", "_rebuild_parameter"): lambda data, *_: data,
        }
        if (module, name) not in allowed:
            raise pickle.UnpicklingError(f"it refers to {module}.{name}")
        return allowed[module, name]

    def persistent_load(self, pid: Any) -> np.ndarray:
        if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage":
            raise pickle.UnpicklingError("it has a persistent id that is no storage")
        if pid[1] not in _STORAGES:
            raise pickle.UnpicklingError(f"it has a storage of type {pid[1]!r}")
        return self._storage(pid)


def _rebuild_tensor(
    storage: np.ndarray, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any
) -> np.ndarray:
    """Returns a view of a storage, which the strides must not leave."""
    # A view passed as a storage may have fewer elements in memory than its shape says.
    if not (isinstance(storage, np.ndarray) and storage.ndim == 1 and storage.flags.c_contiguous):
        raise pickle.UnpicklingError("a tensor is built on something else than a storage")
    if len(size) != len(stride) or min((offset, *size, *stride)) < 0:
        raise pickle.UnpicklingError("a tensor has a negative size or stride")
    last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
    if 0 not in size and last >= storage.size:
        raise pickle.UnpicklingError("a tensor reaches beyond its storage")
    return np.lib.stride_tricks.as_strided(
        storage[offset:], size, tuple(s * storage.itemsize for s in stride), writeable=False
    )


def _read_zip(path: Path) -> Any:
    """Returns the content of a file of PyTorch 1.6 or newer."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        pickles = [name for name in names if name.endswith("/data.pkl") or name == "data.pkl"]
        if len(pickles) != 1:
            raise ModelError(f"{path} is a zip file but no PyTorch checkpoint: no data.pkl")
        root = pickles[0].removesuffix("data.pkl")
        order = f"{root}byteorder"
        if order in names and archive.read(order) != b"little":
            raise ModelError(f"{path} was saved on a big-endian machine; save it as .safetensors")
        storages: dict[str, np.ndarray] = {}

        def storage(pid: tuple[Any, ...]) -> np.ndarray:
            _, kind, key, _, elements = pid[:5]
            if key not in storages:
                dtype = np.dtype(_STORAGES[kind])
                entry = archive.getinfo(f"{root}data/{key}")
                # Checked before reading, so that a small file cannot unpack to a huge one.
                if entry.file_size != elements * dtype.itemsize:
                    raise pickle.UnpicklingError(f"storage {key} has a wrong length")
                storages[key] = _widened(np.frombuffer(archive.read(entry), dtype), kind)
            return storages[key]

        with archive.open(pickles[0]) as file:
            return _TensorUnpickler(file, storage).load()


def _read_legacy(path: Path) -> Any:
    """Returns the content of an older file: five pickles, then the storages' bytes in turn."""
    with path.open("rb") as file:

        def nothing(pid: tuple[Any, ...]) -> np.ndarray:
            raise pickle.UnpicklingError("its header has a storage")

        if _TensorUnpickler(file, nothing).load() != _LEGACY_MAGIC:
            raise ModelError(f"{path} is no PyTorch file")
        for _ in range(2):  # The protocol's version and the machine it was saved on.
            _TensorUnpickler(file, nothing).load()
        size = path.stat().st_size
        storages: dict[str, tuple[np.ndarray, str]] = {}

        def storage(pid: tuple[Any, ...]) -> np.ndarray:
            _, kind, key, _, elements = pid[:5]
            dtype = np.dtype(_STORAGES[kind])
            if not 0 <= elements * dtype.itemsize <= size or (len(pid) > 5 and pid[5] is not None):
                raise pickle.UnpicklingError(f"storage {key} has a wrong length or is a view")
            if kind == "BFloat16Storage":
                raise pickle.UnpicklingError("it has bfloat16 tensors in the old file format")
            return storages.setdefault(key, (np.zeros(elements, dtype), kind))[0]

        loaded = _TensorUnpickler(file, storage).load()
        # The tensors are views already; the bytes they show follow the pickle.
        for key in _TensorUnpickler(file, nothing).load():
            values, _ = storages[key]
            (elements,) = struct.unpack("<q", file.read(8))
            data = file.read(values.nbytes)
            if elements != values.size or len(data) != values.nbytes:
                raise pickle.UnpicklingError(f"storage {key} is cut off")
            values[:] = np.frombuffer(data, values.dtype)
        return loaded


def _read_safetensors(path: Path) -> Tensors:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(str(error)) from error


def _widened(values: np.ndarray, kind: str) -> np.ndarray:
    """Returns bfloat16 as float32, of which it is the upper half; other types as they are."""
    if kind != "BFloat16Storage":
        return values
    return (values.astype(np.uint32) << 16).view(np.float32)


def _only_encoder(loaded: Mapping[str, Any], path: Path) -> Tensors:
    """Returns the ResNet's tensors under torchvision names, without head and counters."""
    for wrapper in _WRAPPERS:
        if isinstance(loaded.get(wrapper), Mapping):
            loaded = loaded[wrapper]
            break
    arrays = {
        name: value
        for name, value in loaded.items()
        if isinstance(name, str) and isinstance(value, np.ndarray)
    }
    prefix = ""
    if "conv1.weight" not in arrays:
        fitting = [p for p in _PREFIXES if f"{p}conv1.weight" in arrays]
        if not fitting:
            raise ModelError(
                f"{path} holds no torchvision ResNet: it has no tensor conv1.weight, but "
                f"{', '.join(list(arrays)[:3]) or 'none'}"
            )
        prefix = max(fitting, key=len)
    # With a prefix the file holds several networks, of which the prefix names the encoder.
    names = {name.removeprefix(prefix): name for name in arrays if name.startswith(prefix)}
    return {
        short: arrays[name]
        for short, name in names.items()
        if not short.startswith("fc.") and not short.endswith("num_batches_tracked")
    }


def _read_keras(path: Path) -> Tensors:
    """Returns the encoder of a U-Net's weights file, found by layer names."""
    import h5py

    tensors: Tensors = {}
    with h5py.File(path) as file:

        def collect(path: str, group: Any) -> None:
            # Keras notes the name of a layer on the group of its variables.
            name = str(group.attrs.get("name", ""))
            if not (path.startswith("layers/") and name.startswith(PREFIX) and len(group)):
                return
            key = torch_name(name)
            values = [np.asarray(group[str(i)]) for i in range(len(group))]
            if len(values) == 1:
                tensors[f"{key}.weight"] = values[0].transpose(3, 2, 0, 1)
            else:
                suffixes = ("weight", "bias", "running_mean", "running_var")
                tensors.update(zip((f"{key}.{s}" for s in suffixes), values, strict=True))

        file.visititems(collect)
    if not tensors:
        raise ModelError(f"{path} has no layer whose name begins with {PREFIX}")
    return tensors


def torch_name(layer_name: str) -> str:
    """Returns the torchvision name of an encoder layer: `layer1.0.conv1`."""
    return layer_name.removeprefix(PREFIX).replace("_", ".")
