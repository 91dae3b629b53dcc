"""One raster predicted from end to end: network, cleaning, files."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from landcover_tf.accuracy.request_log import LoggedModel, append_map
from landcover_tf.datasets.band_statistics import BandStatistics
from landcover_tf.errors import OutputError
from landcover_tf.legend import Legend
from landcover_tf.system.files import beside, write_json
from landcover_tf.system.progress import progress
from landcover_tf.system.provenance import VERSION
from landcover_tf.validity import ValidityBit
from serving import outputs
from serving.applicability import Applicability, alike_fractions, assess
from serving.band_content import BandContent
from serving.bands_on_disk import BandStore
from serving.blending import BlendMerger, CropMerger, Merger, patch_weights
from serving.engines import Engine, chosen_engine
from serving.intents import discard, intend
from serving.layouts import batch_size, choose_layout
from serving.options import PredictionOptions
from serving.pipeline import Backend, Predictor
from serving.postprocess import Cleaning, clean, with_uncertain
from serving.raster_io import BLOCK_PX, EXACT_CACHE_BYTES, WindowReader, bounded_cache
from serving.sampling import Checksums
from serving.source import Source, stamp_of
from serving.sources import open_source
from serving.targets import (
    APPLICABILITY,
    CONFIDENCE,
    ENTROPY,
    PROBABILITIES,
    RECORD,
    alone,
    check_targets,
    work_folder,
)
from serving.windows import Layout

CLOUD_BITS = ValidityBit.CLOUD | ValidityBit.CIRRUS | ValidityBit.SHADOW | ValidityBit.BUFFER


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a finished prediction left."""

    map_path: Path
    legend: Legend
    counts: dict[int, int]
    """Pixels per legend code."""
    applicability: Applicability | None = None
    """The scene against the training data; None if the model does not know its own."""
    alike: Mapping[float, float] = field(default_factory=dict)
    """Shares of the pixels with one reflectance in all bands, where they are many."""


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
        self._changed = datetime.fromtimestamp(self.source.path.stat().st_mtime, UTC)
        self.cleaning: Cleaning = options.cleaning.cleaning(info.legend, info.class_codes)
        self.content = BandContent(
            classes=len(info.class_codes),
            entropy=options.outputs.entropy,
            probabilities=options.outputs.probabilities or self.cleaning.refine == "probabilities",
        )
        self.layout: Layout = choose_layout(self.source, info, options.network, self.content)
        self.work = work_folder(map_path)
        self.files = self.work / "files"
        self.store = BandStore(
            self.work / "network",
            self.content.layers,
            [self.layout.band(i) for i in range(len(self.layout.rows))],
        )
        self._run = ""
        self._record: Mapping[str, Any] | None = None
        # A batch of more rasters than a process may hold open is planned as a whole.
        self.source.close()

    @property
    def legend(self) -> Legend:
        """The classes of the map."""
        legend = self.engine.info.legend
        return with_uncertain(legend) if self.cleaning.uncertain_below > 0 else legend

    def prepare(
        self,
        record: Mapping[str, Any] | None = None,
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
            if record is not None:
                overwrite = self.options.overwrite
                intend(self.map_path, record, overwrite=overwrite, began=began)
            self._run, self._record = self.store.run, record

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

    def finish(self) -> Result:
        """Cleans the map and writes all files; the finished bands are then deleted.

        Raises:
            OutputError: The disk refuses, or the request log cannot be written.
        """
        try:
            # Of a run that was killed while it wrote them.
            if self.files.exists():
                shutil.rmtree(self.files)
            self.files.mkdir()
            path = self.files / self.map_path.name
            # Before the map: a map here without it is one whose files were being moved.
            if self._record is not None:
                write_json(beside(path, RECORD), self._record)
            result = self._write_files(path)
            # Before the map is there: a finished map is not taken up again, and a line of a run
            # that is continued counts once.
            if self.options.outputs.request_log is not None:
                self._log(self.options.outputs.request_log, result.counts)
            outputs.publish(self.files, self.map_path)
        except OSError as error:
            raise OutputError(f"cannot write {self.map_path}: {error}") from error
        discard(self.map_path)
        return result

    def settings(self) -> dict[str, object]:
        """Returns what decides the network's bands: equal settings give equal bytes."""
        network = asdict(self.options.network)
        # Their effect stands in the layout and the engine's name; a server may move.
        for irrelevant in ("memory_gb", "engine", "mode", "server", "server_timeout_s"):
            network.pop(irrelevant)
        # Machines without bfloat16 would continue the bands of others in float32.
        network["precision"] = self.engine.precision
        source = asdict(self.options.source)
        source.pop("checksums")  # They refuse pixels and change none.
        return {
            "model": self.engine.model_hash,
            "source": self.input_stamp,
            "source_options": source,
            "excluded_bits": self.excluded_bits,
            "network": network,
            "engine": chosen_engine(self.options.network),
            "layout": asdict(self.layout),
            "layers": list(self.content.layers),
        }

    def tags(self) -> dict[str, str]:
        """Returns the provenance written into every raster; it holds no time of day."""
        info = self.engine.info
        return {
            **self.source.tags,
            "model": f"{info.name} {info.version}",
            "model_sha256": self.engine.model_hash,
            "legend": info.legend.name,
            "prediction": f"{self.layout.mode}, {self.engine.name}",
            "post_processing": str(self.cleaning),
            "software": f"landcover-tf {VERSION}",
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

    def _write_files(self, path: Path) -> Result:
        info = self.engine.info
        legend, grid, tags = self.legend, self.source.grid, self.tags()
        with ThreadPoolExecutor(1) as aside:
            # Only votes change levels. Without them nothing keeps the levels from being written
            # while objects are removed.
            levels = None
            if not self.cleaning.votes:
                levels = aside.submit(self._write_levels, path, self.store, tags)
            final = clean(self.store, self.cleaning, self.work, block_rows=BLOCK_PX)
            levels = levels or aside.submit(self._write_levels, path, final, tags)
            counts = outputs.write_map(
                path,
                final,
                class_codes=[c.code for c in self.cleaning.classes],
                legend=legend,
                grid=grid,
                tags=tags,
            )
            files = [path, *levels.result()]
        files += outputs.write_areas_and_style(path, counts, legend, grid)
        samples = self.store.samples()
        applicability = assess(samples, info)
        if applicability is not None:
            files.append(beside(path, APPLICABILITY))
            write_json(files[-1], applicability.to_dict())
        known = {} if applicability is None else {"applicable": applicability.applicable}
        outputs.write_companions(
            files,
            self.source,
            legend=legend,
            info=info,
            wanted=self.options.outputs,
            tags=tags | known,
            title=self.source.name,
        )
        return Result(
            map_path=self.map_path,
            legend=legend,
            counts=counts,
            applicability=applicability,
            alike=alike_fractions(samples, info),
        )

    def _log(self, path: Path, counts: Mapping[int, int]) -> None:
        info, samples = self.engine.info, self.store.samples()
        if not any(map(len, samples)):
            return
        append_map(
            path,
            model=LoggedModel(
                name=f"{info.name}/{info.version}",
                sha256=self.engine.model_hash,
                data_hash=info.data_hash,
                legend=info.legend.name,
                codes=info.legend.codes,
            ),
            windows=self.layout.count,
            class_pixels={code: counts[code] for code in info.class_codes if counts[code]},
            run=self.store.run,
            source=self._identity(),
            map_path=str(self.map_path.resolve()),
            statistics=BandStatistics.from_pixels(np.concatenate(samples), info.band_names),
        )

    def _identity(self) -> str:
        """Returns the product's name, or that of a raster with its time, as others get its name."""
        plain = f"{self.source.path.name} of {self._changed:%Y-%m-%dT%H:%M:%SZ}"
        return self.source.tags.get("product") or plain

    def _write_levels(
        self, map_path: Path, final: BandStore, tags: Mapping[str, str]
    ) -> list[Path]:
        """Writes the rasters of levels that are asked for, and returns their paths."""
        files = []
        for name, store, layers, descriptions in self._level_rasters(final):
            files.append(beside(map_path, name))
            outputs.write_levels(
                files[-1],
                store,
                layers,
                grid=self.source.grid,
                descriptions=descriptions,
                tags=tags,
            )
        return files

    def _level_rasters(
        self, final: BandStore
    ) -> Iterator[tuple[str, BandStore, list[int], tuple[str, ...]]]:
        """Yields file, store, layers and band descriptions of the rasters of levels to write."""
        wanted, info, layers = self.options.outputs, self.engine.info, self.content.layers
        if wanted.confidence:
            yield CONFIDENCE, final, [1], (self.cleaning.confidence,)
        if wanted.entropy:
            yield ENTROPY, self.store, [layers.index("entropy")], ("relative entropy",)
        if wanted.probabilities:
            names = {c.code: c.name for c in info.legend.classes}
            found = [i for i, name in enumerate(layers) if name.startswith("probability_")]
            yield (
                PROBABILITIES,
                self.store,
                found,
                tuple(names[code] for code in info.class_codes),
            )
