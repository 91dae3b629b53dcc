"""Signals that ask a training to stop, taken up between two steps."""

import signal
from types import FrameType
from typing import Any

from landcover_tf.system.signals import INTERRUPTED, STOPPED, handled


class StopRequest:
    """Inside the `with` block, SIGTERM and the first SIGINT are noted instead of obeyed at once.

    A second SIGINT interrupts as usual, for those who cannot wait for the step to end. Outside
    the main thread, where Python does not allow handlers, nothing is noted.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._noting = handled(self._note)

    def __enter__(self) -> "StopRequest":
        self._noting.__enter__()
        return self

    def __exit__(self, *raised: Any) -> None:
        self._noting.__exit__(*raised)

    @property
    def exit_code(self) -> int:
        """Exit code that tells the caller which signal ended the process."""
        return INTERRUPTED if self.signal == signal.SIGINT else STOPPED

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self.signal == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = signal.Signals(number)
