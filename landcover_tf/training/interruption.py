"""Signals that ask a training to stop, taken up between two steps."""

import signal
from types import FrameType, TracebackType

EXIT_CODES = {signal.SIGTERM: 143, signal.SIGINT: 130}


class StopRequest:
    """Inside the `with` block, SIGTERM and the first SIGINT are noted instead of obeyed at once.

    A second SIGINT interrupts as usual, for those who cannot wait for the step to end. Outside
    the main thread, where Python does not allow handlers, nothing is noted.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> "StopRequest":
        for number in EXIT_CODES:
            try:
                self._before[number] = signal.signal(number, self._note)
            except ValueError:
                break
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    @property
    def exit_code(self) -> int:
        """Exit code that tells the caller which signal ended the process."""
        return EXIT_CODES.get(self.signal or signal.SIGTERM, 143)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self.signal == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = signal.Signals(number)
