"""Weight files: what PyTorch writes is read without it, and nothing in a file is run."""

import io
import os
import pickle
import struct
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
from safetensors.numpy import save_file

from landcover_tf.errors import ModelError
from landcover_tf.models.weight_files import read_tensors, read_torch

CONV1 = np.arange(2 * 3 * 2 * 2, dtype=np.float32).reshape(2, 3, 2, 2)


class _Name:
    """Pickles as a reference to `module.name`, as PyTorch's pickles refer to its functions."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name


class _StoragePickler(pickle._Pickler):
    """Writes the pickles that `torch.save` writes, without PyTorch (for the tests only)."""

    def persistent_id(self, obj):
        return obj.pid if isinstance(obj, _Storage) else None


class _Storage:
    def __init__(self, kind: str, key: str, count: int) -> None:
        self.pid = ("storage", _Name("torch", kind), key, "cpu", count)


class _Call:
    """Pickles as a call of a named function."""

    def __init__(self, module: str, name: str, *arguments) -> None:
        self.module, self.name, self.arguments = module, name, arguments


def _save_name(pickler, obj: _Name) -> None:
    pickler.write(pickle.GLOBAL + f"{obj.module}\n{obj.name}\n".encode())


def _save_call(pickler, obj: _Call) -> None:
    pickler.save(_Name(obj.module, obj.name))
    pickler.save(obj.arguments)
    pickler.write(pickle.REDUCE)


_StoragePickler.dispatch = {**pickle._Pickler.dispatch, _Name: _save_name, _Call: _save_call}


def dumps(value) -> bytes:
    file = io.BytesIO()
    _StoragePickler(file, 2).dump(value)
    return file.getvalue()


def tensor(key: str, shape, stride, *, count: int, kind: str = "FloatStorage", offset: int = 0):
    storage = _Storage(kind, key, count)
    return _Call("torch._utils", "_rebuild_tensor_v2", storage, offset, shape, stride, False, None)


def write_checkpoint(path, value, storages: dict[str, bytes], *, byteorder: bytes = b"little"):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("any/data.pkl", dumps(value))
        archive.writestr("any/byteorder", byteorder)
        for key, data in storages.items():
            archive.writestr(f"any/data/{key}", data)
    return path


def conv1_call(**changes):
    settings = {"shape": (2, 3, 2, 2), "stride": (12, 4, 2, 1), "count": CONV1.size}
    return tensor("0", **settings | changes)


def test_state_dict_is_read(tmp_path):
    values = {"conv1.weight": conv1_call(), "fc.weight": conv1_call(), "step": 7}
    path = write_checkpoint(tmp_path / "a.pth", values, {"0": CONV1.tobytes()})
    found = read_tensors(path)
    assert list(found) == ["conv1.weight"]
    np.testing.assert_array_equal(found["conv1.weight"], CONV1)


def test_views_of_one_storage_keep_offset_and_stride(tmp_path):
    part = tensor("0", (2, 3), (1, 4), count=CONV1.size, offset=5)  # Transposed, from element 5.
    path = write_checkpoint(tmp_path / "a.pth", {"x": part}, {"0": CONV1.tobytes()})
    flat = CONV1.reshape(-1)
    expected = [[flat[5 + row + 4 * column] for column in range(3)] for row in range(2)]
    np.testing.assert_array_equal(read_torch(path)["x"], expected)


@pytest.mark.parametrize(
    ("kind", "data", "expected"),
    [
        ("HalfStorage", np.array([1.5, -2], "<f2").tobytes(), [1.5, -2]),
        ("DoubleStorage", np.array([1.5, -2], "<f8").tobytes(), [1.5, -2]),
        ("LongStorage", np.array([3, -2], "<i8").tobytes(), [3, -2]),
        # bfloat16 is the upper half of float32: 0x3fc0 is 1.5, 0xc000 is -2.
        ("BFloat16Storage", struct.pack("<HH", 0x3FC0, 0xC000), [1.5, -2]),
    ],
)
def test_element_types(tmp_path, kind, data, expected):
    value = {"x": tensor("0", (2,), (1,), count=2, kind=kind)}
    found = read_torch(write_checkpoint(tmp_path / "a.pth", value, {"0": data}))["x"]
    assert found.tolist() == expected


@pytest.mark.parametrize(
    "wrap",
    [
        lambda tensors: {"state_dict": tensors, "epoch": 3},
        lambda tensors: {"model": {f"module.{k}": v for k, v in tensors.items()}},
        lambda tensors: {
            "state_dict": {
                f"module.encoder_{side}.{k}": v for k, v in tensors.items() for side in "qk"
            }
        },
        lambda tensors: {f"backbone.{k}": v for k, v in tensors.items()},
    ],
)
def test_wrappers_and_prefixes_of_training_programs(tmp_path, wrap):
    tensors = {"conv1.weight": conv1_call(), "bn1.num_batches_tracked": conv1_call()}
    path = write_checkpoint(tmp_path / "a.pth", wrap(tensors), {"0": CONV1.tobytes()})
    assert list(read_tensors(path)) == ["conv1.weight"]


def test_safetensors(tmp_path):
    save_file({"conv1.weight": CONV1, "fc.bias": CONV1}, tmp_path / "a.safetensors")
    found = read_tensors(tmp_path / "a.safetensors")
    assert list(found) == ["conv1.weight"]
    np.testing.assert_array_equal(found["conv1.weight"], CONV1)


class _Evil:
    def __init__(self, marker) -> None:
        self.marker = marker

    def __reduce__(self):
        return (os.mkdir, (str(self.marker),))


@pytest.mark.parametrize("layout", ["zip", "legacy", "header"])
def test_code_in_a_file_is_not_run(tmp_path, layout):
    marker, path = tmp_path / "ran", tmp_path / "evil.pth"
    evil = pickle.dumps({"conv1.weight": _Evil(marker)}, 2)
    if layout == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("any/data.pkl", evil)
    elif layout == "legacy":
        magic = pickle.dumps(0x1950A86A20F9469CFC6C, 2)
        path.write_bytes(magic + pickle.dumps(1001, 2) + pickle.dumps({}, 2) + evil)
    else:
        path.write_bytes(evil)
    with pytest.raises(ModelError, match=r"it refers to (posix|nt)\.mkdir"):
        read_tensors(path)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shape": (2, 3, 2, 3)}, "reaches beyond its storage"),
        ({"offset": 1}, "reaches beyond its storage"),
        ({"stride": (12, 4, 2, -1)}, "negative size or stride"),
        ({"count": 10**9}, "storage 0 has a wrong length"),
        ({"kind": "EvilStorage"}, "it refers to torch.EvilStorage"),
    ],
)
def test_tensors_cannot_reach_other_memory(tmp_path, changes, message):
    value = {"conv1.weight": conv1_call(**changes)}
    path = write_checkpoint(tmp_path / "a.pth", value, {"0": CONV1.tobytes()})
    with pytest.raises(ModelError, match=message):
        read_tensors(path)


def test_a_view_is_no_storage(tmp_path):
    """Its shape promises a million elements where memory holds one."""
    view = tensor("0", (10**6,), (0,), count=1)
    beyond = _Call("torch._utils", "_rebuild_tensor_v2", view, 0, (10**6,), (1,), False, None)
    path = write_checkpoint(tmp_path / "a.pth", {"conv1.weight": beyond}, {"0": bytes(4)})
    with pytest.raises(ModelError, match="built on something else than a storage"):
        read_tensors(path)


@pytest.mark.parametrize(
    "damaged",
    [
        b"\x80\x04\x8d" + b"\xff" * 8 + b".",  # A string of 2^64 bytes.
        b"\x80\x02" + b"(" * 5000 + b"t" * 5000 + b".",
        dumps({"x": tensor("0", (2**70,), (0,), count=1)}),
        dumps({7: tensor("0", (1,), (1,), count=1)}),
    ],
)
def test_damaged_pickles_are_refused_in_words(tmp_path, damaged):
    with zipfile.ZipFile(tmp_path / "a.pth", "w") as archive:
        archive.writestr("any/data.pkl", damaged)
        archive.writestr("any/data/0", bytes(4))
    with pytest.raises(ModelError, match=r"a\.pth (is not a plain PyTorch|holds )"):
        read_tensors(tmp_path / "a.pth")


def test_a_pickle_cannot_change_what_it_refers_to(tmp_path):
    state = pickle.MARK + pickle.NONE + pickle.EMPTY_DICT + b"X\x01\0\0\0xK\x01s" + pickle.TUPLE
    path = tmp_path / "a.pth"
    with zipfile.ZipFile(path, "w") as archive:
        name = pickle.GLOBAL + b"torch._utils\n_rebuild_tensor_v2\n"
        entry = pickle.EMPTY_DICT + b"X\x01\0\0\0y" + name + state + pickle.BUILD + pickle.SETITEM
        archive.writestr("any/data.pkl", pickle.PROTO + b"\x02" + entry + pickle.STOP)
    first, second = (read_torch(path)["y"] for _ in range(2))
    assert first.x == 1
    del first.x
    assert second.x == 1


def test_unreadable_files_are_refused_in_words(tmp_path):
    def refused(name: str, content: bytes, message: str) -> None:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ModelError, match=message):
            read_tensors(tmp_path / name)

    with pytest.raises(ModelError, match="there is no weights file"):
        read_tensors(tmp_path / "absent.pth")
    refused("a.pth", b"PK\x03\x04 broken", "a.pth")
    refused("b.pth", pickle.dumps([1], 2), "b.pth is no PyTorch file")
    refused("c.safetensors", b"\xff" * 20, "c.safetensors cannot be read as weights")
    refused("d.weights.h5", b"no hdf5", "d.weights.h5 cannot be read as weights")
    refused("e.ckpt", b"", r"expected a file ending in \.pth")
    with zipfile.ZipFile(tmp_path / "f.pth", "w") as archive:
        archive.writestr("readme", "")
    with pytest.raises(ModelError, match=r"no data\.pkl"):
        read_tensors(tmp_path / "f.pth")
    write_checkpoint(tmp_path / "g.pth", {}, {}, byteorder=b"big")
    with pytest.raises(ModelError, match="big-endian"):
        read_tensors(tmp_path / "g.pth")
    write_checkpoint(tmp_path / "h.pth", {"head.weight": conv1_call()}, {"0": CONV1.tobytes()})
    with pytest.raises(ModelError, match=r"no tensor conv1\.weight, but head\.weight"):
        read_tensors(tmp_path / "h.pth")


@pytest.mark.parametrize("new_format", [True, False])
def test_files_that_pytorch_wrote(tmp_path, new_format):
    torch = pytest.importorskip("torch")
    values = OrderedDict(
        [
            ("conv1.weight", torch.from_numpy(CONV1)),
            ("bn1.weight", torch.nn.Parameter(torch.arange(6.0)[1:4])),
            ("layer1.0.conv1.weight", torch.arange(12.0).reshape(3, 4).T),
            ("bn1.num_batches_tracked", torch.tensor(3)),
        ]
    )
    path = tmp_path / "a.pth"
    torch.save(values, path, _use_new_zipfile_serialization=new_format)
    found = read_tensors(path)
    assert set(found) == {"conv1.weight", "bn1.weight", "layer1.0.conv1.weight"}
    for name, array in found.items():
        np.testing.assert_array_equal(array, values[name].detach().numpy())
