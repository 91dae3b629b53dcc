"""Where prediction windows lie: the exact layout and the blended one.

Both keep every window origin on the network's stride grid. Off that grid the pooling steps
fall on other pixels and most labels change, however wide the margin is.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from landcover_tf.errors import ConfigError
from landcover_tf.grid import PatchGrid, Window

Mode = Literal["exact", "blend"]

WORTH_COMPUTING = 1.015
"""How much more may be computed for windows that need less memory. Layouts lie close together:
4096 x 4096 px in four windows of 2336 px take 1 % longer than in three of 1760 x 4096 px, which
are a third larger."""


@dataclass(frozen=True, kw_only=True)
class Span:
    """One window along one axis."""

    start: int
    """First pixel that the network sees."""
    stop: int
    """One past the last pixel that the network sees; may lie beyond the raster."""
    keep_start: int
    """First pixel that becomes final with this window."""
    keep_stop: int
    """One past the last pixel that becomes final with this window, within the raster."""

    @property
    def size(self) -> int:
        """Pixels that the network sees."""
        return self.stop - self.start


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The windows of one raster: all of one shape, row by row.

    In exact mode a window decides the pixels it keeps alone. In blend mode windows are
    averaged, and the rows a window row keeps are those no later window row touches.
    """

    mode: Mode
    height: int
    width: int
    rows: tuple[Span, ...]
    cols: tuple[Span, ...]

    @property
    def window_height(self) -> int:
        """Height of every window in pixels."""
        return self.rows[0].size

    @property
    def window_width(self) -> int:
        """Width of every window in pixels."""
        return self.cols[0].size

    @property
    def count(self) -> int:
        """Number of windows."""
        return len(self.rows) * len(self.cols)

    @property
    def computed_fraction(self) -> float:
        """Pixels computed per output pixel."""
        window_pixels = self.window_height * self.window_width
        return self.count * window_pixels / (self.height * self.width)

    def window(self, row: int, col: int) -> Window:
        """Returns the window that the network sees; it may reach beyond the raster."""
        return Window(
            row_off=self.rows[row].start,
            col_off=self.cols[col].start,
            height=self.window_height,
            width=self.window_width,
        )

    def band(self, row: int) -> tuple[int, int]:
        """Returns the raster rows [start, stop) that are final after window row `row`."""
        return self.rows[row].keep_start, self.rows[row].keep_stop

    def of_columns(self, cols: range) -> "Layout":
        """Returns the layout of some neighbouring window columns; its pixels start with theirs."""
        first = self.cols[cols.start].start
        spans = tuple(
            Span(
                start=span.start - first,
                stop=span.stop - first,
                keep_start=span.keep_start - first,
                keep_stop=span.keep_stop - first,
            )
            for span in self.cols[cols.start : cols.stop]
        )
        return replace(self, width=spans[-1].stop, cols=spans)

    def rows_to_compute(self, rows: Sequence[int]) -> list[int]:
        """Returns the window rows to run for the bands of `rows`."""
        needed = {i for row in rows for i in range(self.first_row_of(row), row + 1)}
        return sorted(needed)

    def first_row_of(self, row: int) -> int:
        """Returns the first window row that contributes to the band of window row `row`."""
        if self.mode == "exact":
            return row
        start = self.rows[row].keep_start
        return next(i for i, span in enumerate(self.rows) if span.stop > start)


def blend_layout(height: int, width: int, grid: PatchGrid, align: int) -> Layout:
    """Returns overlapping patches at multiples of the stride; the last ones are padded.

    Args:
        height: Raster rows.
        width: Raster columns.
        grid: Patch size and overlap.
        align: The network's total stride in pixels.

    Raises:
        ConfigError: Patch size or stride is off the stride grid.
    """
    if grid.patch_size % align or grid.stride % align:
        raise ConfigError(
            f"--patch-size and --patch-overlap must be multiples of {align} px, the stride of "
            f"this model; got {grid.patch_size} and {grid.patch_overlap}"
        )
    return Layout(
        mode="blend",
        height=height,
        width=width,
        rows=_patch_spans(height, grid),
        cols=_patch_spans(width, grid),
    )


def exact_layout(
    height: int,
    width: int,
    *,
    margin_px: int,
    align: int,
    memory_bytes: Callable[[int, int], int],
    limit_bytes: int,
    required: bool = True,
) -> Layout | None:
    """Returns the exact layout that computes nearly the fewest pixels within a memory limit.

    Windows share at least twice the margin and together end where the raster, padded to the
    stride grid, ends. The network so sees the raster's edges as it does without windows.

    Args:
        height: Raster rows.
        width: Raster columns.
        margin_px: Context after which a cropped prediction equals the untiled one.
        align: The network's total stride in pixels.
        memory_bytes: Memory that windows of a height and width need.
        limit_bytes: Largest memory allowed.
        required: Raise instead of returning None where no layout fits the memory.

    Raises:
        ConfigError: `required`, and even the smallest useful window needs more memory.
    """
    fitting: list[tuple[int, Layout]] = []
    all_rows = _axis_choices(height, margin_px, align)
    all_cols = _axis_choices(width, margin_px, align)
    for rows, cols in itertools.product(all_rows, all_cols):
        memory = memory_bytes(rows[0].size, cols[0].size)
        if memory <= limit_bytes:
            layout = Layout(mode="exact", height=height, width=width, rows=rows, cols=cols)
            fitting.append((memory, layout))
    if not fitting and required:
        smallest = memory_bytes(all_rows[-1][0].size, all_cols[-1][0].size)
        raise ConfigError(
            f"exact mode with a margin of {margin_px} px needs at least "
            f"{smallest / 2**30:.1f} GiB, the limit is {limit_bytes / 2**30:.1f} GiB; raise "
            "--memory-gb or use --mode blend"
        )
    least = min((layout.computed_fraction for _, layout in fitting), default=0.0)
    worth = [f for f in fitting if f[1].computed_fraction <= WORTH_COMPUTING * least]
    return min(worth, key=lambda found: found[0])[1] if worth else None


def exact_spans(length: int, count: int, margin_px: int, align: int) -> tuple[Span, ...]:
    """Returns `count` equal windows over `length` pixels that share twice the margin or more."""
    padded = _round_up(length, align)
    overlap = _round_up(2 * margin_px, align) if count > 1 else 0
    size = _round_up(-(-(padded + (count - 1) * overlap) // count), align)
    steps = max(count - 1, 1) * align
    starts = [align * ((padded - size) * k // steps) for k in range(count)]
    # The cut lies midway between the neighbours' edges, a margin or more away from both.
    cuts = [0, *((starts[k] + starts[k - 1] + size) // 2 for k in range(1, count)), length]
    return tuple(
        Span(start=start, stop=start + size, keep_start=cuts[k], keep_stop=cuts[k + 1])
        for k, start in enumerate(starts)
    )


def _axis_choices(length: int, margin_px: int, align: int) -> list[tuple[Span, ...]]:
    """Returns the layouts of one axis from one window down to windows that are mostly margin."""
    padded = _round_up(length, align)
    overlap = _round_up(2 * margin_px, align)
    choices: list[tuple[Span, ...]] = []
    for count in range(1, max((padded - overlap) // align, 1) + 1):
        spans = exact_spans(length, count, margin_px, align)
        if count > 1 and (spans[0].size >= padded or spans[0].size < overlap + align):
            break
        if not choices or spans[0].size < choices[-1][0].size:
            choices.append(spans)
        if spans[0].size <= 2 * overlap:
            break  # More than half of such a window is margin along this axis.
    return choices


def _patch_spans(length: int, grid: PatchGrid) -> tuple[Span, ...]:
    count = grid.count(length)
    starts = [k * grid.stride for k in range(count)]
    ends = [*starts[1:], length]
    return tuple(
        Span(start=start, stop=start + grid.patch_size, keep_start=start, keep_stop=end)
        for start, end in zip(starts, ends, strict=True)
    )


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
