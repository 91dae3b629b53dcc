"""The layout that fits a raster and the memory."""

from dataclasses import dataclass

import numpy as np

from landcover_tf.grid import PatchGrid
from landcover_tf.model_info import ModelInfo
from serving.engines import chosen_engine, client_settings
from serving.options import NetworkOptions
from serving.raster_io import STRIP_ROWS
from serving.row_band_content import BandContent
from serving.source import Source
from serving.windows import Layout, Mode, blend_layout, exact_layout

# Peak memory of a ResNet-50 U-Net measured on windows of 2048 px and more: what the engine holds
# per pixel of a batch besides its output, by engine and precision, and what the process holds
# beside that once the model is loaded, GDAL's full cache among it. OpenVINO in float32 had 171 to
# 226 bytes on a processor with AVX2; the rest is reserve. Asked for bf16, it computes in float32 on
# processors that have no bfloat16, which is only known once it is loaded.
ACTIVATION_BYTES_PER_PX = {
    ("openvino", "float32"): 230,
    ("openvino", "bf16"): 230,
    ("tensorflow", "float32"): 800,
    ("tensorflow", "bf16"): 460,
    ("server", "float32"): 800,
    ("server", "bf16"): 800,
}
ENGINE_BYTES = {"tensorflow": 2300 * 2**20, "openvino": 1000 * 2**20, "server": 600 * 2**20}
WINDOWS_IN_FLIGHT = 2
"""Windows held at once: one in the network, one read ahead."""
STRIPS_IN_THE_MAKING = 3
"""Room that a strip takes while it is decoded and arranged, in strips."""


@dataclass(frozen=True, kw_only=True)
class MemoryModel:
    """Peak memory of a run in bytes, estimated."""

    engine: str
    precision: str
    bands: int
    stored_bytes: int
    """Bytes of a stored value."""
    output_bytes: int
    """Bytes per pixel that leave the engine."""
    raster_width: int
    sequential: bool
    orientations: bool = False
    """Whether windows run in eight orientations."""

    def bytes_of(self, height: int, width: int, batch: int = 1) -> int:
        """Returns the peak for windows of that size."""
        pixels = height * width * batch
        activations = ACTIVATION_BYTES_PER_PX[self.engine, self.precision]
        stored = self.bands * self.stored_bytes
        # The engine's output, and what is made of it.
        per_px = activations + 2 * self.output_bytes + WINDOWS_IN_FLIGHT * stored
        if self.orientations:
            per_px += stored + 2 * self.output_bytes  # A turned window, its output, and their sum.
            if self.engine == "openvino" and height != width:
                per_px += activations  # A quarter turn of another shape is compiled by itself.
        band = height * self.raster_width * self.output_bytes * 2
        strips = 0
        if self.sequential:
            rows = height + STRIPS_IN_THE_MAKING * STRIP_ROWS
            strips = rows * self.raster_width * (stored + 1)
        return int(ENGINE_BYTES[self.engine] + per_px * pixels + band + strips)


def choose_layout(
    source: Source, info: ModelInfo, options: NetworkOptions, content: BandContent
) -> Layout:
    """Returns the layout of the mode asked for; `auto` takes the one that computes less.

    Exact windows need memory for a wide margin; where they do not fit, patches are blended. A
    server gets patches, because it may batch requests of equal shape and limit their size.

    Raises:
        ConfigError: Sizes are off the stride grid or exact mode does not fit the memory.
    """
    height, width = source.grid.height, source.grid.width
    grid = PatchGrid(patch_size=options.patch_size, patch_overlap=options.patch_overlap)
    blended = None
    if options.mode != "exact":
        blended = blend_layout(height, width, grid, info.size_multiple)
    if blended is not None and (options.mode == "blend" or options.server is not None):
        return blended
    memory = memory_model(source, info, options, content)
    exact = exact_layout(
        height,
        width,
        margin_px=info.margin_px if options.margin_px is None else options.margin_px,
        align=info.size_multiple,
        memory_bytes=memory.bytes_of,
        limit_bytes=int(options.memory_gb * 2**30),
        required=options.mode == "exact",
    )
    if exact is None or (
        blended is not None and blended.computed_fraction < exact.computed_fraction
    ):
        if blended is None:
            raise ValueError("neither layout was made")
        return blended
    return exact


def memory_model(
    source: Source, info: ModelInfo, options: NetworkOptions, content: BandContent
) -> MemoryModel:
    """Returns the memory model of a run."""
    return MemoryModel(
        engine=chosen_engine(options),
        precision=options.precision,
        bands=len(info.bands),
        stored_bytes=np.dtype(info.dtype).itemsize,
        output_bytes=2 if content.decision_only and not options.tta else 4 * content.classes,
        raster_width=source.grid.width,
        sequential=source.sequential,
        orientations=options.tta,
    )


def follows_memory(mode: Mode, info: ModelInfo, options: NetworkOptions) -> bool:
    """Returns whether windows chosen for another memory give another map, but for rounding.

    Patches do not follow the memory, and the map does not follow exact windows, unless these crop
    less than makes them exact.
    """
    margin = options.margin_px
    return mode == "exact" and margin is not None and margin < info.margin_px


def batch_size(layout: Layout, options: NetworkOptions) -> int:
    """Returns the windows per call of the network: large ones go one by one.

    A call of a server is as many of its requests as may be under way.
    """
    if layout.mode == "exact":
        return 1
    if options.server is None:
        return options.batch_size
    client = client_settings(options)
    return min(client.in_flight * client.windows_per_request, len(layout.cols))
