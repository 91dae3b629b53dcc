"""Which signals ask a training to stop."""

import signal

import pytest

from landcover_tf.training.interruption import StopRequest


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_is_noted_and_the_handlers_of_before_come_back(number, code):
    before = signal.getsignal(number)
    with StopRequest() as stop:
        signal.raise_signal(number)
    assert (stop.signal, stop.exit_code) == (number, code)
    assert signal.getsignal(number) is before


def test_a_second_ctrl_c_interrupts_at_once():
    with pytest.raises(KeyboardInterrupt), StopRequest():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)


def test_what_is_ignored_stays_ignored():
    """Ctrl-C on a script stopped the training that it had started in the background."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with StopRequest() as stop:
            signal.raise_signal(signal.SIGINT)
        assert stop.signal is None
    finally:
        signal.signal(signal.SIGINT, before)
