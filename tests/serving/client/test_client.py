"""The client against a double of TensorFlow Serving over a real export.

Where TensorFlow Serving itself exists, the tests that need no fault run against it instead.
"""

import threading
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from fakes.model_server import QUICK, SCHEMES, ModelServer
from fakes.small_export import stored_images

from landcover_tf.errors import ServerError
from landcover_tf.model_info import Calibration, ModelInfo
from serving.client import ClientSettings, ServerBackend


def test_answers_are_those_of_the_local_model(client, any_server, info, images, expected):
    # To the last bit where both are one build of TensorFlow.
    tolerance = 0 if isinstance(any_server, ModelServer) else 1e-5
    found = client.probabilities(images)
    np.testing.assert_allclose(found, expected["probabilities"], rtol=0, atol=tolerance)
    assert client.classes(images).tobytes() == expected["classes"].tobytes()
    decided = client.decide(images)
    index_of_code = {code: i for i, code in enumerate(info.class_codes)}
    index_of_code[info.legend.nodata] = 255
    dense = np.vectorize(index_of_code.get)(expected["classes"])
    np.testing.assert_array_equal(decided[..., 0], dense)
    levels = np.rint(expected["confidence"] * 254.0)
    np.testing.assert_allclose(decided[..., 1].astype(float), levels, rtol=0, atol=tolerance * 1e5)


def test_any_batch_and_window_size(client, local, info):
    for batch, size in ((1, 32), (2, 96), (13, 32)):
        images = stored_images(batch, size, info, seed=size)
        np.testing.assert_array_equal(
            client.classes(images), local(image=tf.constant(images))["classes"].numpy()
        )


def test_an_empty_batch_has_an_empty_answer(client, info):
    none = np.empty((0, 64, 32, 4), np.uint16)
    answers = (client.classes(none), client.decide(none), client.probabilities(none))
    assert [(a.shape, a.dtype) for a in answers] == [
        ((0, 64, 32), np.uint8),
        ((0, 64, 32, 2), np.uint8),
        ((0, 64, 32, len(info.class_codes)), np.float32),
    ]


def test_windows_need_not_be_square(client, local, info):
    images = stored_images(2, 64, info)[:, :32]
    np.testing.assert_array_equal(
        client.classes(images), local(image=tf.constant(images))["classes"].numpy()
    )


def test_stream_keeps_the_order_and_reads_a_bounded_number_ahead(client, info, server):
    server.behaviour.delay_s = 0.02
    drawn = []

    def batches():
        for number in range(12):
            drawn.append(number)
            yield np.full((1, 32, 32, 4), 1000 + 100 * number, np.uint16)

    for number, answer in enumerate(client.stream(batches(), ("probabilities",))):
        assert len(drawn) <= number + QUICK.in_flight
        alone = client.probabilities(np.full((1, 32, 32, 4), 1000 + 100 * number, np.uint16))
        assert answer["probabilities"].tobytes() == alone.tobytes()
    assert number == 11


def test_only_what_is_wanted_is_asked_for_over_grpc(server, info, images):
    with ServerBackend(server.grpc_url, info, settings=QUICK) as client:
        client.check()
        server.output_filters.clear()
        client.classes(images[:1])
        client.decide(images[:1])
    assert server.output_filters == [["classes"], ["classes", "confidence"]]


def test_whole_batches_are_sent_where_the_server_does_not_join_requests(server, info, images):
    """It joins requests for all outputs of a signature, which those over REST are."""
    sent = {}
    for scheme in SCHEMES:
        with ServerBackend(server.url(scheme), info, settings=QUICK) as client:
            client.check()
            server.batches.clear()
            client.decide(images[:4])
            client.decide(images[:5])
        sent[scheme] = [sorted(server.batches[:-2]), sorted(server.batches[-2:])]
    assert sent["grpc"] == [[4], [2, 3]]
    assert max(sent["http"][0] + sent["http"][1]) == 2


def test_requests_overlap(connect, info, images, server):
    client = connect(info, replace(QUICK, windows_per_request=1))
    client.check()
    # None of the three requests of one window is answered before all have come.
    server.behaviour.meeting = threading.Barrier(3, timeout=60)
    assert len(client.classes(images[:3])) == 3


def test_two_versions_side_by_side_are_not_mixed(two_versions, images):
    infos = [ModelInfo.load(two_versions / version) for version in "12"]
    with ModelServer(two_versions) as server:
        for scheme in SCHEMES:
            answers = []
            for each in infos:
                with ServerBackend(server.url(scheme), each, settings=QUICK) as client:
                    answers.append(client.probabilities(images))
            assert np.abs(answers[0] - answers[1]).max() > 0.01


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"calibration": Calibration()}, r"calibration .*0.6.* instead of .*none"),
        ({"weights_sha256": "abc"}, r"weights  instead of abc"),
        ({"nodata": 7}, r"no-data value 0 instead of 7"),
    ],
)
def test_a_served_model_that_differs_is_named(connect, info, any_server, changes, message):
    client = connect(replace(info, **changes))
    with pytest.raises(ServerError, match=f"is not the model of model.json: {message}"):
        client.classes(np.ones((1, 32, 32, 4), np.uint16))
    if isinstance(any_server, ModelServer):
        assert any_server.predictions == []


def test_other_bands_and_legend_are_named_by_name(connect, info):
    bands = tuple(replace(b, name=n) for b, n in zip(info.bands, ("B01", "B02", "B03", "B04"),
                                                     strict=True))  # fmt: skip
    legend = replace(info.legend, name="other")
    client = connect(replace(info, bands=bands, legend=legend))
    with pytest.raises(
        ServerError,
        match=r"bands B02 B03 B04 B08 instead of B01 B02 B03 B04; legend landcover9 \[10.* instead "
        r"of other",
    ):
        client.check()


def test_another_number_of_bands_is_seen_in_the_metadata(connect, info):
    client = connect(replace(info, bands=info.bands[:3]))
    with pytest.raises(ServerError, match=r"images of shape \(-1, -1, -1, 4\), expected .* 3\)"):
        client.check()


def test_an_unknown_signature_is_named(connect, info):
    client = connect(replace(info, signatures=("serving_default", "segment")))
    with pytest.raises(ServerError, match=r"no signature segment \(it has classify, describe"):
        client.check()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_an_unknown_model_is_named(any_server, info, scheme):
    url = f"{any_server.url(scheme)}/v1/models/forests"
    with (
        ServerBackend(url, info, settings=QUICK) as client,
        pytest.raises(ServerError, match=r"Servable not found for request: Specific\(forests, 1\)"),
    ):
        client.check()


def test_the_graphs_own_check_reaches_the_user(client):
    with pytest.raises(ServerError, match=r"multiples of 32, got.*40 32"):
        client.classes(np.ones((1, 40, 32, 4), np.uint16))


def test_answers_beyond_the_clients_default_limit_arrive(server, info):
    with ServerBackend(server.grpc_url, info, settings=QUICK) as client:
        probabilities = client.probabilities(np.ones((1, 512, 512, 4), np.uint16))
    assert probabilities.nbytes > 4 * 2**20


def test_settings_are_checked():
    with pytest.raises(ValueError, match="in_flight must be positive, got 0"):
        ClientSettings(in_flight=0)


def test_the_rest_client_never_imports_tensorflow(run_python):
    code = """
import sys, serving.client, serving.rest
assert not {"tensorflow", "keras", "grpc"} & set(sys.modules)
"""
    run_python(code)


@pytest.fixture
def run_python():
    import subprocess
    import sys

    return lambda code: subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
