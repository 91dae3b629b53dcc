"""One raster in prediction: opened, laid out in windows, and its bands computed."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from landcover_tf.errors import OutputError
from landcover_tf.legend import Legend
from landcover_tf.system.progress import progress
from landcover_tf.validity import ValidityBit
from serving.blending import BlendMerger, CropMerger, Merger, patch_weights
from serving.engines import Engine, chosen_engine
from serving.inputs import open_source
from serving.intents import intend
from serving.layouts import batch_size, choose_layout
from serving.options import PredictionOptions
from serving.pipeline import Backend, Predictor
from serving.postprocess import Cleaning, with_uncertain
from serving.raster_io import EXACT_CACHE_BYTES, WindowReader, bounded_cache
from serving.row_band_content import BandContent
from serving.row_bands import BandStore
from serving.sampling import Checksums
from serving.source import Source, stamp_of
from serving.targets import alone, check_targets, work_folder
from serving.windows import Layout

CLOUD_BITS = ValidityBit.CLOUD | ValidityBit.CIRRUS | ValidityBit.SHADOW | ValidityBit.BUFFER


class ScenePrediction:
    """A prediction of one raster, step by step, so that steps can run in several processes."""

    def __init__(
        self, path: Path, map_path: Path, engine: Engine, options: PredictionOptions
    ) -> None:
        """Reads the raster's header and lays the windows.

        Raises:
            LandCoverError: Raster, model and options do not fit together.
        """
        self.engine = engine
        self.source_path = path
        self.map_path = map_path
        self.options = options
        info = engine.info
        self.source: Source = open_source(path, info, options.source)
        # Taken before any pixel is read: a file replaced meanwhile is another input afterwards.
        self.input_stamp = stamp_of(self.source.files)
        self.changed = datetime.fromtimestamp(self.source.path.stat().st_mtime, UTC)
        self.cleaning: Cleaning = options.cleaning
        self.content = BandContent(
            classes=len(info.class_codes),
            entropy=options.outputs.entropy,
            probabilities=options.outputs.probabilities or self.cleaning.refine == "probabilities",
        )
        self.layout: Layout = choose_layout(self.source, info, options.network, self.content)
        self.work = work_folder(map_path)
        self.store = BandStore(
            self.work / "network",
            self.content.layers,
            [self.layout.band(i) for i in range(len(self.layout.rows))],
        )
        self.record: Mapping[str, Any] = {}
        self._run = ""
        # A batch of more rasters than a process may hold open is planned as a whole.
        self.source.close()

    @property
    def legend(self) -> Legend:
        """The classes of the map."""
        legend = self.engine.info.legend
        return with_uncertain(legend) if self.cleaning.uncertain_below > 0 else legend

    def prepare(
        self,
        record: Mapping[str, Any],
        *,
        replace: bool = False,
        began: float | None = None,
    ) -> None:
        """Checks the output paths and takes over what an earlier, killed run finished.

        Args:
            record: The settings that make this map, to stand beside it.
            replace: Files that are there may be replaced.
            began: See `intend`.

        Raises:
            OutputError: A file to be written exists or is the input's, an unfinished run of
                other settings exists, or another process makes the map.
        """
        with alone(self.map_path):
            check_targets(self.map_path, self.options.outputs, [self.source], overwrite=replace)
            try:
                self.store.prepare(
                    self.settings(),
                    overwrite=self.options.overwrite,
                    same_source=self._is_same_source,
                )
            except OSError as error:
                raise OutputError(f"cannot write beside {self.map_path}: {error}") from error
            finally:
                self.source.close()
            intend(self.map_path, record, overwrite=self.options.overwrite, began=began)
            self.record, self._run = record, self.store.run

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keeps other processes from the map while it is computed and written.

        All maps of a batch are prepared before the first is computed; held since then, there
        would be more locks than a process may have files.

        Raises:
            OutputError: Another process makes it, or began or finished it since `prepare`.
        """
        with alone(self.map_path):
            if self.store.run != self._run:
                raise OutputError(
                    f"another process has made or begun {self.map_path} since this one prepared "
                    "it; start no second run of one map, and run again to continue"
                )
            yield

    def unfinished_rows(self) -> list[int]:
        """Returns the window rows whose band is not on disk yet."""
        return [i for i in range(len(self.layout.rows)) if not self.store.finished(i)]

    def compute(self, rows: Sequence[int], *, label: str = "predict") -> None:
        """Runs the network for the bands of some window rows.

        Raises:
            RasterError: Rows of the raster cannot be read.
            OutputError: The disk refuses, or the bands are to come from machines that compute in
                another precision.
        """
        if not rows:
            return
        if self.engine.name != self.engine.backend.name:
            raise OutputError(
                f"{len(rows)} bands of {self.map_path} that workers computed on "
                f"{self.engine.name} are not there, and this processor would compute them on "
                f"{self.engine.backend.name}; run again to continue"
            )
        predictor = self.predictor(self.engine.backend)
        total = len(self.layout.rows_to_compute(rows)) * len(self.layout.cols)
        exact = self.layout.mode == "exact"
        cache = bounded_cache(EXACT_CACHE_BYTES) if exact else nullcontext()
        with cache, progress(label=label, total=total, unit="window") as bar:
            predictor.run(self.store, rows, on_window=bar.update)

    def predictor(self, backend: Backend, *, all_probabilities: bool = False) -> Predictor:
        """Returns a predictor of this raster on a backend.

        Args:
            backend: Runs the network.
            all_probabilities: Merge probabilities even where the bands keep decisions only.
        """
        return Predictor(
            layout=self.layout,
            reader=WindowReader(self.source, self.engine.info.nodata),
            backend=backend,
            merger=lambda layout: self._merger(
                layout, decisions=self.content.decision_only and not all_probabilities
            ),
            content=self.content,
            batch_size=batch_size(self.layout, self.options.network),
            bands=len(self.engine.info.bands),
            excluded_bits=self.excluded_bits,
        )

    def settings(self) -> dict[str, object]:
        """Returns what decides the network's bands: equal settings give equal bytes."""
        network = asdict(self.options.network)
        # Their effect stands in the layout and the engine's name; a server may move.
        for irrelevant in ("memory_gb", "engine", "mode", "server", "server_timeout_s"):
            network.pop(irrelevant)
        exact = self.layout.mode == "exact"
        unused = ("patch_size", "patch_overlap", "weighting") if exact else ("margin_px",)
        for of_the_other_mode in unused:
            network.pop(of_the_other_mode)
        if exact or self.options.network.server is not None:
            network.pop("batch_size")  # It sizes the requests, which a server may join anyway.
        # Machines without bfloat16 would continue the bands of others in float32.
        network["precision"] = self.engine.precision
        source = asdict(self.options.source)
        source.pop("checksums")  # They refuse pixels and change none.
        return {
            "model": self.engine.info.identity,
            "source": self.input_stamp,
            "source_options": source,
            "excluded_bits": self.excluded_bits,
            "network": network,
            "engine": chosen_engine(self.options.network),
            "layout": asdict(self.layout),
            "layers": list(self.content.layers),
        }

    def _is_same_source(self, store: BandStore) -> bool:
        """Returns whether the raster gives all pixels that finished bands were made of."""
        finished = [row for row in range(len(self.layout.rows)) if store.finished(row)]
        known = {row: store.checksums(row) for row in finished}
        checksums = Checksums(self.layout)
        reader = WindowReader(self.source, self.engine.info.nodata)
        for row in self.layout.rows_to_compute(finished):
            for col in range(len(self.layout.cols)):
                image, validity = reader.read(self.layout.window(row, col))
                checksums.add(row, image, (validity & self.excluded_bits) > 0)
            if row in known and checksums.of_band(row) != known[row]:
                return False
        return True

    @property
    def excluded_bits(self) -> int:
        """Validity bits of pixels that get no class."""
        # Saturated pixels are bright ones, such as roofs and glint: they show what they are.
        clouds = CLOUD_BITS if self.options.source.mask_clouds else 0
        return int(ValidityBit.NODATA | ValidityBit.DEFECTIVE | clouds)

    def _merger(self, layout: Layout, *, decisions: bool) -> Merger:
        options = self.options.network
        if layout.mode == "blend":
            weights = patch_weights(options.weighting, options.patch_size, options.patch_overlap)
            return BlendMerger(layout, self.content.classes, weights)
        if decisions:
            return CropMerger(layout, 2, np.uint8)
        return CropMerger(layout, self.content.classes, np.float32)
