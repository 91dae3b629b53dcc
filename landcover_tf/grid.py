"""Pixel windows and the one grid of patches that builder, evaluation and prediction share."""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, order=True, slots=True)
class Window:
    """A rectangle of pixels; it may reach beyond the raster it is laid on.

    Rows and columns are counted from the upper-left pixel of the raster.
    """

    row_off: int
    col_off: int
    height: int
    width: int

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1:
            raise ValueError(f"a window has at least one pixel, got {self.height}x{self.width}")

    @property
    def row_end(self) -> int:
        """One past the last row."""
        return self.row_off + self.height

    @property
    def col_end(self) -> int:
        """One past the last column."""
        return self.col_off + self.width

    @property
    def slices(self) -> tuple[slice, slice]:
        """Row and column slices, for a window that lies inside its raster."""
        return slice(self.row_off, self.row_end), slice(self.col_off, self.col_end)

    def clip(self, height: int, width: int) -> "Window | None":
        """Returns the part inside a `height` x `width` raster, or None if there is none."""
        row_off, col_off = max(self.row_off, 0), max(self.col_off, 0)
        row_end, col_end = min(self.row_end, height), min(self.col_end, width)
        if row_off >= row_end or col_off >= col_end:
            return None
        return Window(
            row_off=row_off, col_off=col_off, height=row_end - row_off, width=col_end - col_off
        )

    def expand(self, margin_px: int) -> "Window":
        """Returns the window grown by `margin_px` on every side."""
        return Window(
            row_off=self.row_off - margin_px,
            col_off=self.col_off - margin_px,
            height=self.height + 2 * margin_px,
            width=self.width + 2 * margin_px,
        )

    def relative_to(self, origin: "Window") -> "Window":
        """Returns the same pixels, counted from the upper-left pixel of another window."""
        return Window(
            row_off=self.row_off - origin.row_off,
            col_off=self.col_off - origin.col_off,
            height=self.height,
            width=self.width,
        )

    def strips(self, rows: int) -> Iterator["Window"]:
        """Yields the window from top to bottom in strips of `rows` rows; the last has the rest."""
        return self.blocks(rows, self.width)

    def blocks(self, height: int, width: int) -> Iterator["Window"]:
        """Yields the window row by row in blocks; those at its end have the rest."""
        for row_off in range(self.row_off, self.row_end, height):
            for col_off in range(self.col_off, self.col_end, width):
                yield Window(
                    row_off=row_off,
                    col_off=col_off,
                    height=min(height, self.row_end - row_off),
                    width=min(width, self.col_end - col_off),
                )

    def padding_inside(self, height: int, width: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """Returns the pixels that `clip` cuts off: ((top, bottom), (left, right))."""
        return (
            (max(-self.row_off, 0), max(self.row_end - height, 0)),
            (max(-self.col_off, 0), max(self.col_end - width, 0)),
        )


@dataclass(frozen=True, kw_only=True)
class PatchGrid:
    """Square patches at multiples of one stride, so that neighbours share an overlap.

    Patches at the lower and right edge reach beyond the raster and are padded; they are never
    shifted back, so every origin stays on the stride grid.
    """

    patch_size: int = 256
    """Patch height and width in pixels."""
    patch_overlap: int = 96
    """Pixels that neighbouring patches share, in [0, patch_size)."""

    def __post_init__(self) -> None:
        if self.patch_size < 1:
            raise ValueError(f"patch_size must be at least 1, got {self.patch_size}")
        if not 0 <= self.patch_overlap < self.patch_size:
            raise ValueError(
                f"patch_overlap must be in [0, patch_size={self.patch_size}), "
                f"got {self.patch_overlap}"
            )

    @property
    def stride(self) -> int:
        """Distance between neighbouring patch origins in pixels."""
        return self.patch_size - self.patch_overlap

    def count(self, length: int) -> int:
        """Returns how many patches cover `length` pixels along one axis."""
        return max(-(-(length - self.patch_overlap) // self.stride), 1)

    def windows(self, height: int, width: int) -> Iterator[Window]:
        """Yields the windows that cover a `height` x `width` raster, row by row.

        Raises:
            ValueError: The raster has no pixel.
        """
        if height < 1 or width < 1:
            raise ValueError(f"a raster has at least one pixel, got {height}x{width}")
        for row in range(self.count(height)):
            for col in range(self.count(width)):
                yield Window(
                    row_off=row * self.stride,
                    col_off=col * self.stride,
                    height=self.patch_size,
                    width=self.patch_size,
                )


def kept_gap_px(split: str | None, gap_px: int | None, patch_size: int) -> int:
    """Returns the least distance in pixels that a build keeps between patches of different splits.

    Args:
        split: How it splits; a random split keeps none.
        gap_px: The distance that was asked for; None for that of a patch.
        patch_size: Patch height and width in pixels.
    """
    if split == "random":
        return 0
    return patch_size if gap_px is None else gap_px
