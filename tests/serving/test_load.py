"""Many windows at a bounded rate: none lost, none answered twice, latencies printed."""

import time
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256

import numpy as np
import pytest
from fakes.model_server import ModelServer
from fakes.small_export import write_small_export

from landcover_tf.model_info import ModelInfo
from serving.client import ClientSettings, ServerBackend
from serving.protocol import Retries


@pytest.fixture(scope="module")
def served(tmp_path_factory, tf_serving):
    if tf_serving is not None:
        yield tf_serving, ModelInfo.load(tf_serving.version_folder)
        return
    folder = tmp_path_factory.mktemp("load")
    info = write_small_export(folder)
    with ModelServer(folder / "landcover") as server:
        yield server, info


def unique_window(number: int, info: ModelInfo) -> np.ndarray:
    """Returns a window whose every answer can be told from every other's."""
    window = np.full((1, 32, 32, len(info.bands)), 1000, info.dtype)
    window[0, :16, :, 0] += number % 10_000
    window[0, 16:, :, 1] += number // 10_000 + 1
    return window


def measure(client: ServerBackend, starts: dict[bytes, float], latencies: list[float]) -> None:
    """Takes the time when an answer comes, not when `stream` hands it out, which is paced."""
    ask = client._ask

    def ask_and_measure(images, *rest):
        answer = ask(images, *rest)
        latencies.append(time.monotonic() - starts[images.tobytes()])
        return answer

    client._ask = ask_and_measure


def run_load(served, scheme: str, seconds: float, rate_per_s: float) -> None:
    server, info = served
    double = isinstance(server, ModelServer)
    settings = ClientSettings(in_flight=4, retries=Retries(first_pause_s=0.05))
    starts: dict[bytes, float] = {}
    latencies: list[float] = []

    def windows():
        begin = time.monotonic()
        number = 0
        while time.monotonic() - begin < seconds:
            time.sleep(max(begin + number / rate_per_s - time.monotonic(), 0))
            if double and number % 10 == 9:  # The server is busy now and then.
                server.behaviour.failures.append("busy")
            window = unique_window(number, info)
            starts[window.tobytes()] = time.monotonic()
            yield window
            number += 1

    answers = []
    with ServerBackend(server.url(scheme), info, settings=settings) as client:
        client.probabilities(unique_window(0, info))  # The first answer is slow.
        if double:
            server.predictions.clear()
        measure(client, starts, latencies)
        for answer in client.stream(windows(), ("probabilities",)):
            answers.append(answer["probabilities"])
        p50, p99 = np.percentile(latencies, [50, 99]) * 1000
        sent = len(starts)
        assert len(latencies) == sent
        assert len(answers) == sent  # None lost.
        # None answered twice: the server saw each window exactly once.
        if double:
            windows_sent = [unique_window(i, info)[0].tobytes() for i in range(sent)]
            expected = [sha256(window).hexdigest() for window in windows_sent]
            assert sorted(server.predictions) == sorted(expected)
        # And each answer belongs to its window.
        for number in range(0, sent, max(sent // 20, 1)):
            alone = client.probabilities(unique_window(number, info))
            # Batched with others, a real server may sum in another order.
            np.testing.assert_allclose(alone, answers[number], rtol=0, atol=0 if double else 1e-6)
    print(f"\n{scheme}: {sent} windows in {seconds:g} s, p50 {p50:.1f} ms, p99 {p99:.1f} ms")


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_half_a_second_of_load(served, scheme):
    run_load(served, scheme, seconds=0.5, rate_per_s=40)


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_two_minutes_of_load(served, scheme):
    run_load(served, scheme, seconds=120, rate_per_s=40)


def test_two_clients_at_once(served):
    """Two maps at the same time do not get each other's windows."""
    server, info = served
    allowed = 0 if isinstance(server, ModelServer) else 1e-6

    def wrong(offset: int) -> list[int]:
        own = [unique_window(offset + i, info) for i in range(5)]
        with ServerBackend(server.url("grpc"), info) as client:
            once = [client.probabilities(window) for window in own]
            again = [answer["probabilities"] for answer in client.stream(own, ("probabilities",))]
        return [i for i in range(5) if np.abs(again[i] - once[i]).max() > allowed]

    with ThreadPoolExecutor(2) as clients:
        assert list(clients.map(wrong, (0, 5000))) == [[], []]
