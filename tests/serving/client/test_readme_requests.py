"""The requests in the README of the server's files, labels of a canary included."""

import base64
import contextlib
import io
import json
import re
import textwrap
from pathlib import Path

import grpc
import numpy as np
import pytest
import requests
import tensorflow as tf
from fakes.model_server import QUICK, ModelServer
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

import serving
from landcover_tf.model_info import ModelInfo
from serving.client import ServerBackend
from serving.tensors import parse_tensor

README = (Path(serving.__file__).parent / "server" / "README.md").read_text(encoding="utf-8")
LABELS = {
    key: int(value)
    for key, value in re.findall(r'version_labels { key: "(\w+)" value: (\d)', README)
}


@pytest.fixture(scope="module")
def canary(two_versions):
    with ModelServer(two_versions) as server:
        server.labels = LABELS
        yield server


@pytest.fixture(scope="module")
def expected(canary, two_versions):
    """Returns the probabilities of each version for the image of the README."""
    image = np.full((1, 64, 64, 4), 1500, np.uint16)
    found = {}
    for version in (1, 2):
        info = ModelInfo.load(two_versions / str(version))
        with ServerBackend(canary.grpc_url, info, settings=QUICK) as client:
            found[version] = client.probabilities(image)[0]
    return found


ASKING, READING = (
    textwrap.dedent(text) for text in re.findall(r"<<'END'\n(.*?)\n    END\n", README, re.DOTALL)
)
"""The README's programs: what writes a request, and what reads its answer."""


@pytest.fixture(scope="module")
def body() -> str:
    """What the README's program writes into request.json, for four bands instead of 13."""
    assert "(64, 64, 13)" in ASKING
    written = io.StringIO()
    with contextlib.redirect_stdout(written):
        exec(ASKING.replace("13)", "4)"), {})
    return written.getvalue()


def test_the_labels_are_those_of_the_readme():
    assert LABELS == {"stable": 1, "canary": 2}


@pytest.mark.parametrize(
    ("asked", "version"),
    [("", 2), ("/labels/canary", 2), ("/labels/stable", 1), ("/versions/1", 1)],
)
def test_a_window_in_the_row_format_is_answered(canary, body, expected, asked, version):
    if asked in ("", "/labels/canary"):
        assert f"{asked}:predict" in README
    url = f"{canary.rest_url}/v1/models/landcover{asked}:predict"
    (answer,) = requests.post(url, data=body, timeout=20).json()["predictions"]
    packed = base64.b64decode(answer["probabilities_bytes"]["b64"])
    np.testing.assert_allclose(parse_tensor(packed), expected[version], atol=1e-6)


def test_an_answer_is_read_without_tensorflow(canary, body, tmp_path, monkeypatch):
    url = f"{canary.rest_url}/v1/models/landcover:predict"
    answer = requests.post(url, data=body, timeout=20)
    (tmp_path / "answer.json").write_text(answer.text)
    monkeypatch.chdir(tmp_path)
    exec(READING, found := {})
    (packed,) = answer.json()["predictions"]
    for name in ("classes", "confidence"):
        message = base64.b64decode(packed[f"{name}_bytes"]["b64"])
        array = found["codes" if name == "classes" else name]
        np.testing.assert_array_equal(array, tf.io.parse_tensor(message, array.dtype))


def test_the_model_describes_itself_to_curl(canary):
    ((body, path),) = re.findall(r"curl -d '({.*?})' \\\n *http://localhost:8501(\S+)", README)
    (described,) = requests.post(canary.rest_url + path, data=body, timeout=20).json()["outputs"]
    assert json.loads(described)["version"] == 2


def test_labels_are_known_over_grpc(canary, expected):
    request = predict_pb2.PredictRequest(output_filter=["probabilities"])
    request.model_spec.name = "landcover"
    request.inputs["image"].CopyFrom(tf.make_tensor_proto(np.full((1, 64, 64, 4), 1500, np.uint16)))
    with grpc.insecure_channel(canary.grpc_url.removeprefix("grpc://")) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        for label, version in LABELS.items():
            request.model_spec.version_label = label
            answer = stub.Predict(request, timeout=20)
            assert answer.model_spec.version.value == version
            found = tf.make_ndarray(answer.outputs["probabilities"])[0]
            assert found.tobytes() == expected[version].tobytes()


@pytest.mark.parametrize("signature", ["serving_default", "classify"])
def test_numbers_of_uint16_are_refused_over_rest(any_server, signature):
    assert "answered with 501" in " ".join(README.split())
    body = {"signature_name": signature, "instances": np.full((1, 64, 64, 4), 1500).tolist()}
    url = f"{any_server.url('http')}/v1/models/landcover:predict"
    answer = requests.post(url, json=body, timeout=20)
    assert answer.status_code == 501
    assert "Conversion of JSON Value: 1500 to type: uint16" in answer.json()["error"]


def test_an_unknown_label_is_refused(canary, body):
    url = f"{canary.rest_url}/v1/models/landcover/labels/beta:predict"
    answer = requests.post(url, data=body, timeout=20)
    assert answer.status_code == 400
    assert answer.json()["error"] == "Unrecognized servable version label: beta"
