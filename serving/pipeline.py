"""Network predictions of a raster, streamed: a reader, the network, and a writer at work at once.

Queues between them are short, so memory holds a few windows and one row band, whatever the
number of rows.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Protocol

import numpy as np

from serving.blending import Merger, kept
from serving.raster_io import WindowReader
from serving.row_band_content import BandContent, encode_band
from serving.row_bands import BandStore
from serving.sampling import Checksums, Sampler
from serving.threads import Consumer, prefetched
from serving.windows import Layout


class Backend(Protocol):
    """An engine that runs the exported network."""

    one_shape: bool
    """Whether it is compiled for the shape of a batch, so that all batches are to have one."""

    @property
    def name(self) -> str:
        """The engine and its precision."""

    def prepare(self, shape: tuple[int, ...], *, deciding: bool) -> None:
        """Loads and compiles what the first batch would else wait for.

        Args:
            shape: Shape of the batches to come, [batch, height, width, bands].
            deciding: Whether they are given to `decide` rather than to `probabilities`.

        Raises:
            ModelError: The engine cannot load the export.
        """

    def probabilities(self, batch: np.ndarray) -> np.ndarray:
        """Returns class probabilities, float32 [batch, height, width, classes].

        Args:
            batch: Stored values in the model's dtype, [batch, height, width, bands].
        """

    def decide(self, batch: np.ndarray) -> np.ndarray:
        """Returns dense class and confidence in 1/254, uint8 [batch, height, width, 2]."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """Windows of one window row that go through the network together."""

    row: int
    cols: tuple[int, ...]
    images: np.ndarray
    """Stored values [batch, height, width, bands]; an engine of one shape has its batches filled
    with the last ones."""


@dataclass(frozen=True, kw_only=True)
class RowEnd:
    """All windows of a window row have been sent."""

    row: int
    excluded: np.ndarray
    """True where the map has no class, bool [band rows, width]."""
    skipped: int
    """Windows that had no valid pixel."""
    sample: np.ndarray
    """Stored values of some pixels of the band that get a class, [pixels, raster bands]."""
    checksums: list[int]
    """Checksums of all pixels that the band is made of."""


class Predictor:
    """Predicts the row bands of one raster into a store."""

    def __init__(
        self,
        *,
        layout: Layout,
        reader: WindowReader,
        backend: Backend,
        merger: Callable[[Layout], Merger],
        content: BandContent,
        batch_size: int,
        bands: int,
        excluded_bits: int,
    ) -> None:
        """Prepares a run.

        Args:
            layout: The windows.
            reader: Reads them.
            backend: Runs the network.
            merger: Makes an empty merger of `content`'s probabilities, or of decisions, for
                all windows or those of some columns.
            content: What to keep.
            batch_size: Windows per call of the network.
            bands: Bands of a window.
            excluded_bits: Validity bits whose pixels get no class.
        """
        self._layout = layout
        self._reader = reader
        self._backend = backend
        self._merger = merger
        self._content = content
        self._batch_size = batch_size
        self._bands = bands
        self._excluded_bits = excluded_bits
        self._sampler = Sampler(layout)

    def run(
        self, store: BandStore, rows: Sequence[int], *, on_window: Callable[[int], None]
    ) -> None:
        """Computes the bands of the window rows `rows` (ascending) and stores them.

        Args:
            store: Receives the bands.
            rows: Window rows whose bands are wanted; earlier rows that reach into them are
                computed as well.
            on_window: Called with the number of windows done.

        Raises:
            RasterError: Rows cannot be read.
            OutputError: A band cannot be written.
        """
        wanted = set(rows)

        def write(done: tuple[RowEnd, np.ndarray]) -> None:
            end, band = done
            # The band comes last: its file says that everything of its rows is there.
            store.write_checksums(end.row, end.checksums)
            store.write_sample(end.row, end.sample)
            store.write(end.row, encode_band(band, end.excluded, self._content))

        with Consumer(write, name="writer") as writer:
            merger = self._merger(self._layout)
            with prefetched(self._items(self._layout.rows_to_compute(rows)), depth=1) as items:
                # Takes seconds, in which the first window is read.
                self._backend.prepare(
                    self._batch_shape, deciding=decides(self._content, self._layout)
                )
                for item in chain.from_iterable(items):
                    if isinstance(item, Step):
                        self._compute(item, merger)
                        on_window(len(item.cols))
                    else:
                        band = merger.finish(item.row)
                        on_window(item.skipped)
                        if item.row in wanted:
                            writer.put((item, band))

    def region(self, rows: range, cols: range) -> Iterator[tuple[int, np.ndarray]]:
        """Yields (window row, merged probabilities of its band) using some windows only.

        Args:
            rows: Window rows.
            cols: Window columns; the bands reach from the start of the first to the end of the
                last, so that memory does not follow the raster's width.
        """
        merger = self._merger(self._layout.of_columns(cols))
        for row in rows:
            for start in range(cols.start, cols.stop, self._batch_size):
                part = range(start, min(start + self._batch_size, cols.stop))
                waiting = [
                    (col, self._reader.read(self._layout.window(row, col))[0]) for col in part
                ]
                values = self._backend.probabilities(self._step(row, waiting).images)
                for col, probabilities in zip(part, values, strict=False):
                    merger.add(row, col - cols.start, probabilities)
            yield row, merger.finish(row)

    def _items(self, rows: Sequence[int]) -> Iterator[list[Step | RowEnd]]:
        """Yields what the reader has ready at a time: windows, the last ones with the row's end."""
        columns, checksums = len(self._layout.cols), Checksums(self._layout)
        for row in rows:
            skipped = 0
            start, stop = self._layout.band(row)
            excluded = np.ones((stop - start, self._layout.width), bool)
            waiting: list[tuple[int, np.ndarray]] = []
            samples: list[np.ndarray] = []
            for col in range(columns):
                image, validity = self._reader.read(self._layout.window(row, col))
                without = (validity & self._excluded_bits) > 0
                checksums.add(row, image, without)
                own = kept(self._layout, row, col, without)
                across = self._layout.cols[col]
                excluded[:, across.keep_start : across.keep_stop] = own
                samples.append(self._sampler.of_window(row, col, image, own))
                if (own if self._layout.mode == "exact" else without).all():
                    skipped += 1
                    continue
                waiting.append((col, image))
                if len(waiting) == self._batch_size and col + 1 < columns:
                    yield [self._step(row, waiting)]
                    waiting = []
            # An end by itself would be what the reader is ahead, and keep it from the next row
            # for as long as the network is at the last windows of this one.
            last = [self._step(row, waiting)] if waiting else []
            end = RowEnd(
                row=row,
                excluded=excluded,
                skipped=skipped,
                sample=np.concatenate(samples),
                checksums=checksums.of_band(row),
            )
            yield [*last, end]

    def _step(self, row: int, waiting: Sequence[tuple[int, np.ndarray]]) -> Step:
        images = [image for _, image in waiting]
        if self._backend.one_shape:  # The surplus results are dropped.
            images += images[-1:] * (self._batch_size - len(images))
        # A large window is not copied to make a batch of one.
        batch = images[0][None] if len(images) == 1 else np.stack(images)
        return Step(row=row, cols=tuple(col for col, _ in waiting), images=batch)

    @property
    def _batch_shape(self) -> tuple[int, ...]:
        layout = self._layout
        return self._batch_size, layout.window_height, layout.window_width, self._bands

    def _compute(self, step: Step, merger: Merger) -> None:
        deciding = decides(self._content, self._layout)
        compute = self._backend.decide if deciding else self._backend.probabilities
        for col, values in zip(step.cols, compute(step.images), strict=False):
            merger.add(step.row, col, values)


def decides(content: BandContent, layout: Layout) -> bool:
    """Returns whether the backend decides, which needs whole probabilities in one window."""
    return content.decision_only and layout.mode == "exact"
