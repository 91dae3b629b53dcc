"""What only TensorFlow Serving itself can show; see `real_server` for where it comes from.

The tests of the client, of load and of `predict --server` run against it as well.
"""

import urllib.request

import numpy as np
import pytest
import tensorflow as tf
from fakes.small_export import stored_images
from real_server import RealServer, real_server

from landcover_tf.model_info import ModelInfo
from serving.client import ServerBackend


@pytest.fixture
def server(tf_serving: RealServer | None) -> RealServer:
    if tf_serving is None:
        pytest.skip("no TensorFlow Serving here")
    return tf_serving


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_a_real_server_answers_as_the_local_model_does(server, scheme):
    info = ModelInfo.load(server.version_folder)
    images = stored_images(5, info.patch_size, info, seed=3)
    signature = tf.saved_model.load(str(server.version_folder)).signatures["serving_default"]
    expected = signature(image=tf.constant(images))
    with ServerBackend(server.url(scheme), info) as client:
        classes = client.classes(images)
        np.testing.assert_allclose(
            client.probabilities(images), expected["probabilities"].numpy(), atol=1e-5
        )
    assert classes.tobytes() == expected["classes"].numpy().tobytes()


def test_a_real_server_shows_its_metrics(server):
    path = "/monitoring/prometheus/metrics"
    with urllib.request.urlopen(server.url("http") + path, timeout=5) as answer:
        assert b":tensorflow:serving:request_count" in answer.read()


def test_a_url_without_its_model_is_not_passed_over(tmp_path, monkeypatch):
    monkeypatch.setenv("TF_SERVING_URL", "http://localhost:8501")
    monkeypatch.delenv("TF_SERVING_MODEL_DIR", raising=False)
    with (
        pytest.raises(pytest.fail.Exception, match="TF_SERVING_MODEL_DIR must name the export"),
        real_server(tmp_path),
    ):
        pass
