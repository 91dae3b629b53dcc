"""Settings of `landcover predict`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from landcover_tf.configs import flag_ranges
from landcover_tf.errors import ConfigError
from landcover_tf.upsampling import Resampling, Sharpening

ModeChoice = Literal["auto", "exact", "blend"]
Weighting = Literal["radial", "cosine", "uniform"]
EngineChoice = Literal["auto", "tensorflow", "openvino"]
Precision = Literal["float32", "bf16"]
PrecisionChoice = Literal["float32", "bfloat16", "bf16"]
Refinement = Literal["none", "probabilities", "labels"]


@dataclass(frozen=True, kw_only=True)
class PredictConfig:
    """Makes a land-cover map of a Sentinel-2 product, a prepared scene or any raster.

    The map is a cloud-optimised GeoTIFF of legend codes, with confidence, area table, QGIS style
    and picture beside it. Memory does not grow with the raster's height, except of --vector; a
    killed run continues.
    """

    model_path: Path
    """Folder written by landcover export; the highest version in it is used, and stands in
    predict.json, so that `--config` on that takes it again."""
    input_image: tuple[Path, ...]
    """SAFE folder, its MTD_MSIL1C.xml or manifest.safe, or zip; prepared scene, or raster with the
    model's bands; several of them, a folder of them with products at any depth, or a .txt file with
    one path a line."""
    output_map: Path
    """The map, a .tif file; for several inputs, a folder of them or a list, a folder with one
    folder per input."""

    mode: ModeChoice = "auto"
    """exact: large windows cropped by the network's receptive field, equal to no windows at all.
    blend: patches averaged where they overlap. auto: the one that computes fewer pixels within
    --memory-gb; with --server always blend."""
    patch_size: int = 256
    """Patch height and width in blend mode, in pixels."""
    patch_overlap: int = 96
    """Pixels that neighbouring patches share in blend mode."""
    weighting: Weighting = "radial"
    """Weights of the average in blend mode."""
    batch_size: int = 8
    """Patches per call of the network in blend mode; with --server per request, at most 4, of which
    4 are under way."""
    margin: int | None = None
    """Context in pixels cropped off in exact mode; the default is the model's own, which makes
    the result exact. A smaller one gives a warning."""
    tta: bool = False
    """Average over the eight flips and quarter turns of every window; eight times the work."""

    engine: EngineChoice = "auto"
    """What runs the network; auto takes OpenVINO on a CPU if it is installed."""
    precision: PrecisionChoice = "float32"
    """bfloat16, also called bf16, is faster on processors that have it and changes few pixels;
    --verify counts them. On processors without it TensorFlow emulates it, and OpenVINO computes in
    float32 with a warning."""
    server: str | None = None
    """URL of a TensorFlow Serving model instead of a local engine: http(s)://HOST:PORT for REST,
    grpc(s)://HOST:PORT for gRPC. A token in the environment variable LANDCOVER_SERVER_TOKEN is sent
    along."""
    server_timeout: float = 60.0
    """Longest wait for one answer of the server, and for a server that went away, in seconds."""
    memory_gb: float = 4.0
    """Memory that windows are chosen for, in GiB; each process of --jobs may take as much. What
    windows need was measured on processors; on a GPU give what the GPU has, not the machine."""

    assume_bands: tuple[str, ...] = ()
    """Band names of the rasters, in order, in place of names that they carry; `model` uses the
    model's names for rasters that do not name all of its bands."""
    resample: bool = False
    """Resample rasters of another resolution to the model's."""
    resampling: Resampling | None = None
    """How the 20 m and 60 m bands of a SAFE product are resampled to 10 m, as in `landcover
    prepare`; by default as in the scenes that the model was trained on."""
    sharpening: Sharpening | None = None
    """How they are sharpened with the 10 m bands; the same default."""
    mask_clouds: bool = False
    """Leave clouds, cirrus, shadows and the rim around them without class; needs a product or a
    prepared scene."""
    checksums: bool = True
    """Refuse a SAFE product whose bands or masks are not as its manifest.safe lists them. A damaged
    JPEG 2000 file can be read without an error, and gives a wrong map."""

    refine: Refinement = "none"
    """Vote of each pixel's neighbourhood, on class probabilities or on labels."""
    refine_window: int = 7
    """Side of that neighbourhood in pixels, odd."""
    majority: int = 0
    """Side of a majority filter in pixels, odd; 0 is off."""
    min_object_size: int = 20
    """Objects of fewer pixels are replaced by what surrounds them; 0 keeps all. With --mosaic they
    are removed from the mosaic, not from the single maps."""
    sieve: tuple[str, ...] = ()
    """Another least size for some classes, such as "urban areas=5" or 60=100."""
    uncertain_below: float = 0.0
    """Pixels of lower confidence, as in confidence.tif, get the class `uncertain`; 0 is off. It
    is a class like any other when small objects are removed, so `--sieve uncertain=0` keeps its
    specks."""

    confidence: bool = True
    """Write confidence.tif: the network's confidence in its own class, the largest probability of
    each pixel, also where later steps change the class; after --refine probabilities, the mean
    probability in the window of the class voted for."""
    probabilities: bool = False
    """Write the probability of every class, probabilities.tif."""
    entropy: bool = False
    """Write the entropy relative to its maximum, entropy.tif."""
    vector: bool = False
    """Write class polygons, a GeoPackage. All polygons are held in memory, about 0.8 kB each; a
    larger --min-object-size leaves fewer. With --mosaic, for the mosaic only."""
    stac: bool = True
    """Write a STAC item that describes the map."""
    picture: bool = True
    """Write a picture: image, reference map if given, map and confidence, with legend."""
    reference_map: Path | None = None
    """Label raster in the model's legend, for the picture only."""
    request_log: Path | None = None
    """Append band statistics and class counts of each map to this file, which
    landcover monitor compares with the training data."""

    plan: bool = False
    """Only print windows, memory, disk and estimated time."""
    verify: bool = False
    """Compare random regions of the finished map with inference without windows."""
    verify_regions: int = 4
    """Number of those regions."""
    seed: int = 0
    """Chooses those regions."""
    mosaic: bool = False
    """Merge the maps of several inputs, all of one UTM zone and grid, into --output-map, a .tif
    file, by confidence; the single maps stay in NAME_scenes/, so that the same command with more
    inputs computes theirs only."""
    jobs: int = 1
    """Processes that predict row bands or inputs side by side; each loads the model."""
    scheduler: str | None = None
    """Address or file of a Dask scheduler that does it instead. The work is cut into a part for
    each worker that has joined, or into --jobs parts if those are more."""
    overwrite: bool = False
    """Replace an existing map with all that its predict.json says it brought along, and discard
    an unfinished run of other settings. A file of an input is never replaced. The same command
    continues a batch that was interrupted: maps that it had finished stay. So do those of the
    inputs where it replaces a mosaic of other inputs, or with another --sieve or the like."""

    def __post_init__(self) -> None:
        flag_ranges.chosen(self)
        if self.precision == "bfloat16":
            # Beside maps stands the short name, by which they are known to have it.
            object.__setattr__(self, "precision", "bf16")
        flag_ranges.within(self, 0, 1, "uncertain_below")
        flag_ranges.above_zero(self, "memory_gb", "server_timeout")
        flag_ranges.at_least(self, 1, "batch_size", "verify_regions", "jobs")
        flag_ranges.at_least(self, 0, "seed", "margin")
        if not 0 <= self.patch_overlap < self.patch_size:
            raise ConfigError(
                f"--patch-overlap must be in [0, --patch-size={self.patch_size}), got "
                f"{self.patch_overlap}"
            )
        if self.server is not None and (self.engine == "openvino" or self.precision != "float32"):
            raise ConfigError(
                f"--server runs the network as it is served; --engine {self.engine} and "
                f"--precision {self.precision} are of a local engine, so leave them out"
            )
