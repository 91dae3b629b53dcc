"""What an export contains, for people."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from landcover_tf.model_info import ModelInfo, find_export


def listing(path: Path) -> str:
    """Returns a description of the export in `path`, several lines.

    Raises:
        ModelError: There is none.
    """
    folder = find_export(path)
    info = ModelInfo.load(folder)
    rows = {
        "model": f"{info.name}, version {info.version}, encoder {info.encoder_title or 'unknown'}",
        "signatures": ", ".join(info.signatures),
        "input": f"image, {info.dtype} [batch, height, width, {len(info.bands)}], height and "
        f"width multiples of {info.size_multiple}",
        "bands": ", ".join(f"{b.name} (x {b.scale:g} {b.offset:+g})" for b in info.bands),
        "no data": f"{info.nodata:g} in all bands -> class {info.legend.nodata}",
        "pixel size": f"{info.resolution_m:g} m" if info.resolution_m else "unknown",
        "legend": f"{info.legend.name}: "
        + ", ".join(f"{c.code} {c.name}" for c in info.legend.classes),
        "context": f"receptive field {info.receptive_field_px} px, margin {info.margin_px} px, "
        f"trained on {info.patch_size} px patches",
        "calibration": str(info.calibration),
        "pretrained": _origin(info),
        "validation": ", ".join(_score(k, v) for k, v in info.metrics.items()) or "none recorded",
        "test": _test(info.test_scores),
        "data hash": info.data_hash or "unknown",
        "weights": f"SHA-256 {info.weights_sha256}",
        "software": ", ".join(f"{name} {version}" for name, version in info.software.items()),
    }
    lines = [f"{name:12} {value}" for name, value in rows.items()]
    lines += ["files"] + [f"  {size:>12,}  {name}" for name, size in _files(folder)]
    return "\n".join([str(folder), *lines])


def _origin(info: ModelInfo) -> str:
    if info.pretrained is None:
        return "none recorded"
    known = {"SHA-256": info.pretrained["sha256"], "licence": info.pretrained["license"]}
    parts = [info.pretrained["name"], info.pretrained["url"]]
    return ", ".join(filter(None, [*parts, *(f"{k} {v}" for k, v in known.items() if v)]))


def _test(scores: Mapping[str, Any]) -> str:
    """Returns the totals on the test split, and those of the baseline."""
    if not scores:
        return "not evaluated before the export"
    text = f"{_totals(scores)}; {scores['patches']} patches"
    if (orientations := scores["orientations"]) > 1:
        text += f"; mean probability of {orientations} orientations"
    baseline = scores["baseline"]
    return f"{text}; {baseline['kind']} {_totals(baseline)}" if baseline else text


def _totals(scores: Mapping[str, Any]) -> str:
    parts = []
    for name in ("overall_accuracy", "mean_iou", "mean_f1"):
        value, low, high = (scores[name][end] for end in ("value", "low", "high"))
        if value is not None:
            interval = "" if low is None else f" [{low:.3f}, {high:.3f}]"
            parts.append(f"{name} {value:.3f}{interval}")
    return ", ".join(parts)


def _files(folder: Path) -> list[tuple[str, int]]:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return [(str(p.relative_to(folder)), p.stat().st_size) for p in files]


def _score(name: str, value: object) -> str:
    return f"{name} {value:.4f}" if isinstance(value, float) else f"{name} {value}"
