"""Finished row bands on disk: what a killed run leaves for the next one to continue from."""

import json
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from landcover_tf.configs.settings_changes import changes
from landcover_tf.errors import OutputError
from landcover_tf.system.files import atomic_path, write_json, write_text

SETTINGS_FILE = "settings.json"
RUN_FILE = "run.txt"

# EOFError is NumPy's for an empty file.
_UNREADABLE = (OSError, ValueError, EOFError)


class BandStore:
    """A folder with one `.npy` per finished row band, uint8 [layers, rows, width].

    Rows of any window are read back through memory maps, so that post-processing needs memory
    for its own rows only. A band's file appears under its name only when it is complete; what a
    machine that went down has emptied or cut short counts as absent. Names tell the run that
    `prepare` or `require` has found: what a worker writes whose run was replaced meanwhile is
    no band of the run that replaced it.
    """

    def __init__(
        self, folder: Path, layers: Sequence[str], bands: Sequence[tuple[int, int]]
    ) -> None:
        """Opens the store.

        Args:
            folder: Where the files lie.
            layers: Names of the layers.
            bands: Raster rows [start, stop) of each band, from top to bottom.
        """
        self.folder = folder
        self.layers = tuple(layers)
        self._bands = tuple(bands)
        self._run = ""

    @property
    def height(self) -> int:
        """Rows of the raster."""
        return self._bands[-1][1]

    def prepare(
        self,
        settings: Mapping[str, Any],
        *,
        overwrite: bool,
        same_source: Callable[["BandStore"], bool],
    ) -> None:
        """Creates the folder, or takes over the finished bands of the same settings.

        Args:
            settings: What decides the bands; `source` tells the raster's file from others.
            overwrite: Discard bands of other settings.
            same_source: Asked where the raster's file alone has changed, as after a repair:
                whether it still holds all pixels that the finished bands were made of.

        Raises:
            OutputError: The folder holds bands of other settings and `overwrite` is off.
        """
        path = self.folder / SETTINGS_FILE
        self._run, found = self.run, self._settings()
        if found is not None:
            changed = _changes(found, settings)
            if not changed:
                return
            if changed == ["source"] and same_source(self):
                write_json(path, settings)
                return
            if not overwrite and any(self.folder.glob("band_*.npy")):
                raise OutputError(
                    f"{self.folder} holds an unfinished run with other settings "
                    f"({', '.join(changed)}); repeat that run, or remove {self.folder.parent} or "
                    "pass --overwrite to discard it"
                )
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self._run = secrets.token_hex(16)
        write_text(self.folder / RUN_FILE, self._run)
        write_json(path, settings)

    @property
    def run(self) -> str:
        """What tells the run that began these bands, and all that continued it, from any other."""
        try:
            return (self.folder / RUN_FILE).read_text()
        except OSError:
            return ""

    def require(self, settings: Mapping[str, Any]) -> None:
        """Refuses bands of other settings than those that `prepare` stored.

        Raises:
            OutputError: The settings differ; it names which.
        """
        # In this order: `prepare` writes the settings last.
        self._run = self.run
        changed = _changes(self._settings() or {}, settings)
        if changed:
            raise OutputError(
                f"this process would continue {self.folder} with other settings "
                f"({', '.join(changed)}) than the run that began it; give all workers the same "
                "files, software and kind of processor, and start no second run of this map "
                "beside it"
            )

    def write(self, band: int, values: np.ndarray) -> None:
        """Stores a finished band, uint8 [layers, rows, width].

        Raises:
            OutputError: Another run has replaced this one, or the disk refuses.
        """
        # NumPy writes what is not contiguous byte by byte, in a hundred times the time.
        self._save(self._path(band), np.ascontiguousarray(values))

    def write_sample(self, band: int, pixels: np.ndarray) -> None:
        """Stores a few of the raster's pixels of a band, [pixels, raster bands].

        Raises:
            OutputError: As `write`.
        """
        self._save(self._path(band, "sample"), pixels)

    def write_checksums(self, band: int, checksums: Sequence[int]) -> None:
        """Stores what tells all of the raster's pixels that a band is made of from others.

        Raises:
            OutputError: As `write`.
        """
        self._save(self._path(band, "checksums"), np.array(checksums, np.uint32))

    def sample(self, band: int) -> np.ndarray | None:
        """Returns the stored sample of a band, [pixels, raster bands], or None."""
        return self._load(band, "sample")

    def checksums(self, band: int) -> list[int] | None:
        """Returns the stored checksums of a band, or None."""
        found = self._load(band, "checksums")
        return None if found is None else [int(checksum) for checksum in found]

    def samples(self) -> list[np.ndarray]:
        """Returns the stored samples of all bands, from top to bottom."""
        found = [self.sample(band) for band in range(len(self._bands))]
        return [sample for sample in found if sample is not None]

    def fill(self, blocks: Iterable[np.ndarray]) -> None:
        """Stores all bands anew, from top to bottom."""
        self.remove()
        self.folder.mkdir(parents=True)
        for band, values in enumerate(blocks):
            self.write(band, values)

    def finished(self, band: int) -> bool:
        """Returns whether a band is complete on disk."""
        try:
            start, stop = self._bands[band]
            shape = np.load(self._path(band), mmap_mode="r").shape
            return bool(shape[:2] == (len(self.layers), stop - start))
        except _UNREADABLE:
            return False

    def rows(self, start: int, stop: int, layers: Sequence[int]) -> np.ndarray:
        """Returns raster rows [start, stop) of some layers, uint8 [layers, rows, width]."""
        pieces = []
        for band, (first, last) in enumerate(self._bands):
            if first < stop and last > start:
                values = np.load(self._path(band), mmap_mode="r")
                pieces.append(values[list(layers), max(start - first, 0) : stop - first])
        return np.concatenate(pieces, axis=1)

    def blocks(self, layers: Sequence[int], rows: int) -> Iterator[np.ndarray]:
        """Yields the raster from top to bottom in blocks of `rows` rows."""
        for start in range(0, self.height, rows):
            yield self.rows(start, min(start + rows, self.height), layers)

    def remove(self) -> None:
        """Deletes the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _settings(self) -> dict[str, Any] | None:
        """Returns the settings of the bands that are there; None if nothing tells them."""
        try:
            found = json.loads((self.folder / SETTINGS_FILE).read_text())
        except _UNREADABLE:
            return None
        return found if isinstance(found, dict) else None

    def _check_run(self) -> None:
        if self.run != self._run:
            raise OutputError(
                f"the run that this process computes for is no longer in {self.folder}: another "
                "has begun or finished the map meanwhile; start no second run of one map"
            )

    def _save(self, path: Path, values: np.ndarray) -> None:
        self._check_run()
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.save(file, values)

    def _load(self, band: int, kind: str) -> np.ndarray | None:
        try:
            return np.asarray(np.load(self._path(band, kind)))
        except _UNREADABLE:
            return None

    def _path(self, band: int, kind: str = "band") -> Path:
        run = f".{self._run[:8]}" if self._run else ""
        return self.folder / f"{kind}_{band:05d}{run}.npy"


def _changes(found: Mapping[str, Any], settings: Mapping[str, Any]) -> list[str]:
    # Rows and columns of the layout are a table of all windows.
    changed = changes(found, settings, unshown=("model", "source", "rows", "cols"))
    tables = {"layout rows", "layout cols"} & set(changed)
    windows = ["other windows, by --memory-gb or --margin"] if tables else []
    return [name for name in changed if name not in tables] + windows
