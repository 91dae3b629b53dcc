"""The TensorBoard profile of some steps."""

from collections.abc import Sequence
from pathlib import Path

import tensorflow as tf


class Profiler:
    """Profiles the steps from the first to the last of `steps`, counted from 0 in this process.

    Args:
        steps: First and last step; empty for no profile.
        folder: The TensorBoard log's.
    """

    def __init__(self, steps: Sequence[int], folder: Path) -> None:
        self._steps = steps
        self._folder = folder
        self._step = 0
        self._running = False

    def begin_step(self) -> None:
        """Starts or stops the profile, if it begins with this step or ended before it."""
        number, self._step = self._step, self._step + 1
        if not self._steps:
            return
        first, last = self._steps
        if number == first:
            tf.profiler.experimental.start(str(self._folder))
            self._running = True
        elif number > last:
            self.stop()

    def stop(self) -> None:
        """Writes the profile, if one is being taken."""
        if self._running:
            tf.profiler.experimental.stop()
            self._running = False
