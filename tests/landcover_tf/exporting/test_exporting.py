"""The exported model: what it answers, however it is loaded, and what it refuses."""

import json
import sys

import numpy as np
import pytest
import tensorflow as tf
from fakes.small_dataset import write_small_dataset
from fakes.small_export import small_info, small_network, stored_images, write_small_export
from tensorflow.core.protobuf import saved_model_pb2

from landcover_tf.datasets.records import decode
from landcover_tf.datasets.tfrecord import read_records
from landcover_tf.errors import ModelError, OutputError
from landcover_tf.exporting.comparison import check_export
from landcover_tf.exporting.saved_model import sample_images, write_export
from landcover_tf.model_info import Calibration, ModelInfo, find_export


@pytest.fixture(scope="module")
def info() -> ModelInfo:
    return small_info()


@pytest.fixture(scope="module")
def network(info):
    return small_network(info)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, info, network):
    path = tmp_path_factory.mktemp("export") / "landcover" / "1"
    check = write_export(network, info, path, check_images=stored_images(2, 64, info))
    assert check.pixels == 2 * 64 * 64
    assert check.max_probability_difference <= 1e-5
    assert check.different_classes == 0
    return path


@pytest.fixture(scope="module")
def images(info) -> np.ndarray:
    return stored_images(3, 96, info, seed=5)


@pytest.fixture(scope="module")
def expected(info, network, images) -> dict[str, np.ndarray]:
    """What the Keras model gives, in NumPy, without the code under test."""
    reflectance = images * 0.0001 - 0.1
    nodata = (images == 0).all(axis=-1)
    reflectance[nodata] = 0.0
    logits = network.predict(reflectance.astype(np.float32), verbose=0).astype(float) / 1.5
    exponent = np.exp(logits)
    probabilities = exponent / exponent.sum(axis=-1, keepdims=True)
    codes = np.array([10, 20, 30, 40, 50, 60, 80, 90], np.uint8)[probabilities.argmax(axis=-1)]
    return {
        "classes": np.where(nodata, 0, codes).astype(np.uint8),
        "confidence": np.where(nodata, 0, probabilities.max(axis=-1)),
        "probabilities": probabilities,
    }


def assert_equal(answer: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert set(answer) == set(expected)
    assert answer["classes"].dtype == np.uint8
    assert answer["classes"].tobytes() == expected["classes"].tobytes()
    assert len(np.unique(answer["classes"])) > 3  # No data and several classes occur.
    for name in ("confidence", "probabilities"):
        assert answer[name].dtype == np.float32
        np.testing.assert_allclose(answer[name], expected[name], atol=1e-5)


def test_loaded_without_keras_it_gives_what_keras_gives(folder, images, expected):
    served = tf.saved_model.load(str(folder)).signatures["serving_default"]
    outputs = served(image=tf.constant(images))
    assert_equal({name: value.numpy() for name, value in outputs.items()}, expected)


@pytest.mark.skipif(sys.platform == "win32", reason="limits of files are POSIX")
def test_a_full_disk_is_told_and_leaves_nothing(tmp_path, info, network):
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # No file may grow beyond 8 kB: writing fails as on a full disk.
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, hard))
    try:
        with pytest.raises(OutputError, match=r"cannot write .*/1: file too large; make room"):
            write_export(network, info, tmp_path / "1", check_images=stored_images(2, 64, info))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.iterdir())


def session_outputs(folder, signature: str, feed: dict) -> dict[str, np.ndarray]:
    """Runs a signature the way TensorFlow Serving does: by tensor name in a TF1 session."""
    tf1 = tf.compat.v1
    with tf1.Session(graph=tf.Graph()) as session:
        graph = tf1.saved_model.loader.load(session, ["serve"], str(folder))
        definition = graph.signature_def[signature]
        fetches = {name: tensor.name for name, tensor in definition.outputs.items()}
        return session.run(fetches, {definition.inputs[k].name: v for k, v in feed.items()})


@pytest.mark.filterwarnings("ignore")
def test_the_session_loader_of_the_server_gives_the_same(folder, images, expected):
    assert_equal(session_outputs(folder, "serving_default", {"image": images}), expected)
    (classes,) = session_outputs(folder, "classify", {"image": images}).values()
    assert classes.tobytes() == expected["classes"].tobytes()


def test_bytes_signature_equals_the_typed_one(folder, images, expected):
    served = tf.saved_model.load(str(folder)).signatures["predict_bytes"]
    packed = [image.astype("<u2").tobytes() for image in images]
    outputs = served(image_bytes=tf.constant(packed), size=tf.constant([[96, 96]] * 3))
    types = {"classes": tf.uint8, "confidence": tf.float32, "probabilities": tf.float32}
    answer = {
        name: np.stack([tf.io.parse_tensor(t, kind).numpy() for t in outputs[f"{name}_bytes"]])
        for name, kind in types.items()
    }
    assert_equal(answer, expected)


def test_signatures_are_named_and_typed(folder):
    signatures = tf.saved_model.load(str(folder)).signatures
    assert set(signatures) == {"serving_default", "classify", "predict_bytes", "describe"}
    (_, inputs) = signatures["serving_default"].structured_input_signature
    assert inputs["image"].dtype == tf.uint16
    assert inputs["image"].shape.as_list() == [None, None, None, 4]
    outputs = signatures["serving_default"].structured_outputs
    assert {name: (t.dtype, t.shape.rank) for name, t in outputs.items()} == {
        "classes": (tf.uint8, 3),
        "confidence": (tf.float32, 3),
        "probabilities": (tf.float32, 4),
    }


def test_describe_answers_model_json(folder):
    served = tf.saved_model.load(str(folder)).signatures["describe"]
    answers = served(request=tf.constant(["", ""]))["model_json"].numpy()
    written = json.loads((folder / "model.json").read_text())
    assert [json.loads(answer) for answer in answers] == [written] * 2


@pytest.mark.parametrize("shape", [(1, 32, 64, 4), (5, 64, 32, 4), (2, 160, 32, 4)])
def test_any_multiple_of_32_is_taken(folder, shape):
    served = tf.saved_model.load(str(folder)).signatures["classify"]
    assert served(image=tf.ones(shape, tf.uint16))["classes"].shape == shape[:3]


def test_another_size_is_refused_in_the_graph(folder):
    served = tf.saved_model.load(str(folder)).signatures["serving_default"]
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"multiples of 32, got.*40 64"):
        served(image=tf.ones([1, 40, 64, 4], tf.uint16))


def test_wrong_number_of_bytes_is_refused_in_the_graph(folder):
    served = tf.saved_model.load(str(folder)).signatures["predict_bytes"]
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"which are\] \[8192\].*\[8190\]"):
        served(image_bytes=tf.constant([b"\0" * 8190]), size=tf.constant([[32, 32]]))
    with pytest.raises(tf.errors.InvalidArgumentError, match="must have one size"):
        served(image_bytes=tf.constant([b""] * 2), size=tf.constant([[32, 32], [32, 64]]))


def test_weights_are_on_disk_once(folder, network):
    weights = sum(4 * int(np.prod(v.shape)) for v in network.variables)
    saved = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    kernels = [
        node
        for function in saved.meta_graphs[0].graph_def.library.function
        for node in function.node_def
        if node.op == "Const" and len(node.attr["value"].tensor.tensor_content) > 500
    ]
    stored = sum(len(node.attr["value"].tensor.tensor_content) for node in kernels)
    assert len(kernels) == 2  # Two convolutions, three signatures.
    assert stored <= weights


def test_warm_up_requests_are_read_back_and_answered(folder):
    from tensorflow_serving.apis import prediction_log_pb2

    path = folder / "assets.extra" / "tf_serving_warmup_requests"
    assert path.stat().st_size < 100_000
    signatures = tf.saved_model.load(str(folder)).signatures
    batches, filters = [], []
    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        log = prediction_log_pb2.PredictionLog.FromString(record)
        request = log.predict_log.request
        assert request.model_spec.name == "landcover"
        inputs = {k: tf.constant(tf.make_ndarray(v)) for k, v in request.inputs.items()}
        answer = signatures[request.model_spec.signature_name](**inputs)
        batches.append((request.model_spec.signature_name, len(next(iter(answer.values())))))
        if request.model_spec.signature_name == "predict_bytes":
            classes = tf.io.parse_tensor(answer["classes_bytes"][-1], tf.uint8)
            assert classes.shape == (64, 64)  # The patch size, on which clients predict.
        filters += [list(request.output_filter)] if request.output_filter else []
        assert set(request.output_filter) <= set(answer)
    assert batches == [
        ("serving_default", 1), ("serving_default", 4), ("classify", 1), ("classify", 4),
        ("serving_default", 1), ("serving_default", 1), ("predict_bytes", 1), ("predict_bytes", 4),
    ]  # fmt: skip
    # What `predict --server grpc://` asks for.
    assert filters == [["classes", "confidence"], ["probabilities"]]


def test_contract_is_read_back(folder, info):
    assert ModelInfo.load(find_export(folder.parents[1])) == info


def test_an_existing_version_is_never_overwritten(folder, info, network):
    before = sorted(p.name for p in folder.parent.iterdir())
    with pytest.raises(OutputError, match="exists already"):
        write_export(network, info, folder, check_images=stored_images(1, 64, info))
    assert sorted(p.name for p in folder.parent.iterdir()) == before


def test_a_differing_model_is_named_and_not_written(tmp_path, folder, info, network, images):
    other = small_network(info, seed=9)
    with pytest.raises(ModelError, match="differs from the Keras model: probabilities by"):
        check_export(folder, other, info, images)


def test_a_difference_beyond_rounding_is_refused(folder, info, images):
    other = small_network(info)
    kernel, bias = other.get_layer("logits").get_weights()
    bias[0] += 3e-4  # At a temperature of 1.5 at most 5e-5 in probability.
    other.get_layer("logits").set_weights([kernel, bias])
    with pytest.raises(ModelError, match=r"probabilities by \d.*e-05"):
        check_export(folder, other, info, images)


def test_a_failing_check_leaves_nothing(tmp_path, info, network, images):
    broken = images.astype(np.float32)  # The signature takes uint16 only.
    with pytest.raises(Exception, match=r"float|uint16"):
        write_export(network, info, tmp_path / "landcover" / "1", check_images=broken)
    assert not (tmp_path / "landcover").exists()


@pytest.mark.parametrize(("dtype", "nodata"), [("uint8", 255), ("int16", -999), ("float32", 0)])
def test_other_stored_types(tmp_path, dtype, nodata):
    info = write_small_export(tmp_path, dtype=dtype, nodata=nodata, calibration=Calibration())
    served = tf.saved_model.load(str(tmp_path / "landcover" / "1")).signatures
    image = np.full((1, 32, 32, 4), nodata, dtype)
    image[0, 3, 5, 0] = 7  # One band has data.
    classes = served["classify"](image=tf.constant(image))["classes"].numpy()[0]
    assert classes[3, 5] in info.class_codes
    assert np.count_nonzero(classes) == 1
    packed = tf.constant([image.tobytes()])
    answer = served["predict_bytes"](image_bytes=packed, size=tf.constant([[32, 32]]))
    again = tf.io.parse_tensor(answer["classes_bytes"][0], tf.uint8).numpy()
    np.testing.assert_array_equal(again, classes)


def test_exports_are_checked_on_patches_of_the_dataset(tmp_path):
    dataset = write_small_dataset(tmp_path, size=64, train=2, val=3)
    found = sample_images(dataset, tmp_path, 32)
    assert (str(found), found.lacking) == ("patches of the dataset", "")
    path = dataset.shard_paths(tmp_path, "val")[0]
    expected = np.stack([decode(r).image[:32, :32] for r in read_records(path, "none")])
    expected[0, :8, :8] = 0  # A corner without data.
    np.testing.assert_array_equal(found.stored, expected)


def test_random_images_say_why_they_are_none_of_the_dataset(tmp_path):
    dataset = write_small_dataset(tmp_path / "data", train=4, val=1)
    shards = sorted((tmp_path / "data").glob("*.tfrecord"))
    assert str(sample_images(dataset, tmp_path / "data", 32)) == "patches of the dataset"
    shards[-1].unlink()
    assert not sample_images(dataset, tmp_path / "data", 32).lacking, "training patches are there"
    shards[0].unlink()
    for folder, size, why in (
        (tmp_path / "data", 32, f"{tmp_path / 'data'} holds no split with all its shards"),
        (tmp_path / "moved", 32, f"{tmp_path / 'moved'} holds no split with all its shards"),
        (tmp_path / "data", 64, "patches of the dataset have 32 px, those of the run 64 px"),
    ):
        found = sample_images(dataset, folder, size)
        assert (str(found), found.lacking) == ("random images", why)
        assert found.stored.shape == (4, size, size, 4) and found.stored.dtype == np.uint16
