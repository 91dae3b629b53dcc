"""How long the client asks a server that is away or busy."""

import random
import threading
import time

import pytest
from fakes.model_server import BRIEF, QUICK, SCHEMES, ModelServer
from fakes.small_export import write_small_export

from landcover_tf.errors import ServerError
from serving import client as client_module
from serving.client import ClientSettings, ServerBackend
from serving.protocol import Retries, UnavailableError


class Clock:
    """Time that passes in pauses only."""

    def __init__(self, monkeypatch) -> None:
        self.now_s = 1000.0
        self.pauses = []
        monkeypatch.setattr(time, "monotonic", lambda: self.now_s)
        monkeypatch.setattr(time, "sleep", self.sleep)

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now_s += seconds


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def away(**asked):
    raise UnavailableError("away", **asked)


def test_a_server_that_loads_its_models_for_nearly_a_minute_is_waited_for(clock):
    def ask():
        return "answer" if clock.now_s >= 1059 else away()

    assert ClientSettings().retries.run(ask) == "answer"


def test_it_gives_up_after_a_minute_and_says_so(clock):
    with pytest.raises(ServerError, match=r"^away; gave up after 1\d attempts in 60 s$"):
        ClientSettings().retries.run(away)
    assert sum(clock.pauses) == pytest.approx(60)


def test_the_time_of_the_lost_request_does_not_count(clock):
    def ask():
        clock.now_s += 300 * (not clock.pauses)
        return "answer" if clock.pauses else away()

    assert Retries(patience_s=10).run(ask) == "answer"


def test_no_patience_asks_once(clock):
    with pytest.raises(ServerError, match="away; gave up after 1 attempt in 0 s"):
        Retries(patience_s=0).run(away)
    with pytest.raises(ValueError, match="patience_s must not be negative, got -1"):
        Retries(patience_s=-1)


def test_pauses_double_up_to_a_limit(clock, monkeypatch):
    monkeypatch.setattr(random, "uniform", lambda low, high: (low + high) / 2)
    with pytest.raises(ServerError, match="away; gave up after 7 attempts in 16 s"):
        Retries(patience_s=16, first_pause_s=1, longest_pause_s=5).run(away)
    # Three quarters of 1, 2, 4 and the limit; the last pause ends with the patience.
    assert clock.pauses == pytest.approx([0.75, 1.5, 3, 3.75, 3.75, 3.25])


def test_a_pause_is_as_long_as_the_server_asks_for(clock):
    def ask():
        return "answer" if clock.pauses else away(retry_after_s=20)

    assert Retries().run(ask) == "answer"
    assert clock.pauses == [20]


def test_what_nobody_waits_for_any_more_is_given_up():
    """As after Ctrl-C, which would else wait for a server that is away."""
    unwanted = threading.Event()

    def leave():
        threading.Timer(0.1, unwanted.set).start()
        away()

    with pytest.raises(ServerError, match=r"away; gave up after [12] attempts? in \d+ s"):
        Retries(first_pause_s=600, longest_pause_s=600).run(leave, unwanted=unwanted)


def test_an_interrupted_stream_leaves_nothing_waiting(server, info, images):
    def interrupted():
        yield images[:1]
        yield images[1:2]
        raise KeyboardInterrupt

    with ServerBackend(server.url("http"), info, settings=ClientSettings(in_flight=3)) as client:
        client.check()
        server.behaviour.failures += ["busy"] * 1000
        with pytest.raises(KeyboardInterrupt):
            list(client.stream(interrupted()))
    # The client is closed: no request is under way. Two would come again for a minute, 26 times.
    assert 1000 - len(server.behaviour.failures) < 10


@pytest.mark.parametrize(
    ("failures", "asked"), [(["busy"], False), (["drop"], True), (["drop", "busy"], True)]
)
def test_a_server_is_asked_again_what_it_serves_where_it_was_away_and_not_where_it_was_busy(
    connect, info, images, server, failures, asked
):
    client = connect(info, QUICK)
    client.check()
    # What it serves would be asked for after the window, and take the last.
    server.behaviour.failures += [*failures, "none", "none"]
    assert len(client.classes(images[:1])) == 1
    assert server.behaviour.failures == ["none"] * (not asked)


def test_a_pause_beyond_the_patience_is_not_begun(server, info, images):
    with ServerBackend(server.rest_url, info, settings=QUICK) as client:
        client.check()
        server.behaviour.retry_after = "61"
        server.behaviour.failures += ["exhausted"] * 2
        message = r"busy \(HTTP 429\), and asks for a pause of 61 s: .*gave up after 1 attempt"
        with pytest.raises(ServerError, match=message):
            client.classes(images[:1])
        server.behaviour.retry_after = "Fri, 27 Nov 2026 07:28:00 GMT"
        assert len(client.classes(images[:1])) == 1
    assert server.behaviour.failures == []


def test_it_gives_up_after_the_agreed_time(connect, info, images, server):
    client = connect(info, BRIEF)
    client.check()
    server.behaviour.failures += ["busy"] * 10_000
    with pytest.raises(ServerError, match=r"gave up after \d+ attempts in \d+ s"):
        client.classes(images[:1])
    assert len(server.behaviour.failures) <= 9998


def test_the_first_check_is_less_patient(info, monkeypatch):
    """A port may be mistyped."""
    monkeypatch.setattr(client_module, "FIRST_PATIENCE_S", 0.1)
    with (
        ServerBackend("http://127.0.0.1:1", info, settings=QUICK) as client,
        pytest.raises(
            ServerError, match=r"no model server at .*gave up after \d+ attempts in \d+ s"
        ),
    ):
        client.check()


def test_a_restart_between_requests_is_survived(model_folder, info, images, expected, monkeypatch):
    """With the settings of `predict`."""
    one_at_a_time = threading.Lock()
    stopped = []

    def come_back(*_):  # Before each pause.
        with one_at_a_time:  # Several requests find no server.
            if stopped:
                stopped.pop().start_again()
        return 1.0

    monkeypatch.setattr(random, "uniform", come_back)
    for scheme in SCHEMES:
        with (
            ModelServer(model_folder) as server,
            ServerBackend(server.url(scheme), info, settings=ClientSettings()) as client,
        ):
            client.check()
            server.stop()
            stopped.append(server)
            assert client.classes(images).tobytes() == expected["classes"].tobytes()
            assert not stopped, "no request came while the server was away"


@pytest.mark.parametrize("scheme", SCHEMES)
def test_another_model_under_the_same_number_after_a_restart_is_refused(
    model_folder, info, images, tmp_path, monkeypatch, scheme
):
    other = write_small_export(tmp_path, seed=7, weights_sha256="f" * 64)
    assert other.version == info.version
    stopped = []

    def come_back(*_):  # Before each pause.
        if stopped:
            server = stopped.pop()
            server.load(tmp_path / "landcover", anew=True)
            server.start_again()
        return 1.0

    with (
        ModelServer(model_folder) as server,
        ServerBackend(server.url(scheme), info, settings=QUICK) as client,
    ):
        client.classes(images[:1])
        server.stop()
        stopped.append(server)
        monkeypatch.setattr(random, "uniform", come_back)
        with pytest.raises(ServerError, match=r"is not the model of model.json: weights ffff"):
            client.classes(images[:1])
