"""A model server, or its double, and clients of it."""

import shutil
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from fakes.model_server import QUICK, SCHEMES, Behaviour, ModelServer
from fakes.small_export import stored_images, write_small_export

from landcover_tf.model_info import ModelInfo, find_export
from serving.client import ServerBackend


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory, tf_serving) -> Path:
    if tf_serving is not None:
        return tf_serving.model_folder
    folder = tmp_path_factory.mktemp("served")
    write_small_export(folder)
    return folder / "landcover"


@pytest.fixture(scope="session")
def info(model_folder) -> ModelInfo:
    return ModelInfo.load(find_export(model_folder))


@pytest.fixture(scope="module")
def running(model_folder, tf_serving):
    if tf_serving is not None:
        yield tf_serving
        return
    with ModelServer(model_folder) as server:
        yield server


@pytest.fixture
def any_server(running):
    """The double as new, or TensorFlow Serving itself."""
    if isinstance(running, ModelServer):
        running.behaviour = Behaviour()
        running.predictions.clear()
        running.output_filters.clear()
    return running


@pytest.fixture
def server(any_server):
    """The double, which can be told what to do wrong."""
    if not isinstance(any_server, ModelServer):
        pytest.skip("TensorFlow Serving makes no mistakes on demand")
    return any_server


@pytest.fixture(params=SCHEMES)
def connect(request, any_server):
    """Returns a client of the server that expects some model."""
    with ExitStack() as opened:
        url = any_server.url(request.param)
        yield lambda info, settings=QUICK: opened.enter_context(
            ServerBackend(url, info, settings=settings)
        )


@pytest.fixture
def client(connect, info):
    return connect(info)


@pytest.fixture(scope="session")
def two_versions(tmp_path_factory, model_folder) -> Path:
    """Folder of a model in versions 1 and 2."""
    folder = tmp_path_factory.mktemp("two")
    shutil.copytree(model_folder, folder / "landcover")
    write_small_export(folder, version=2, seed=2)
    return folder / "landcover"


@pytest.fixture(scope="session")
def local(model_folder):
    return tf.saved_model.load(str(find_export(model_folder))).signatures["serving_default"]


@pytest.fixture(scope="session")
def images(info) -> np.ndarray:
    return stored_images(7, 64, info, seed=3)


@pytest.fixture(scope="session")
def expected(local, images) -> dict[str, np.ndarray]:
    return {k: v.numpy() for k, v in local(image=tf.constant(images)).items()}
