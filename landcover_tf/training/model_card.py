"""MODEL_CARD.md: what a model is, what it was trained on, and how well it did."""

from collections.abc import Mapping, Sequence
from typing import Any

from landcover_tf.datasets.dataset_info import DatasetInfo, ProductInfo
from landcover_tf.errors import listed
from landcover_tf.model_spec import SIZE_MULTIPLE, joined_skips

MOST_NAMES = 40
"""Products that are listed by name."""


def model_card(summary: Mapping[str, Any], info: DatasetInfo) -> str:
    """Returns the model card as Markdown.

    Args:
        summary: Contents of `run.json`.
        info: The dataset.
    """
    config = summary["config"]
    sections = [
        f"# {config['model']} U-Net for {info.legend.name} land cover",
        _purpose(info),
        _table("Model", _model_rows(summary)),
        _table("Data", _data_rows(summary, info)),
        _classes(info),
        _table("Training", _training_rows(summary)),
        _table("Validation scores of the kept epoch", _score_rows(summary)),
        _limits(info),
        _table("Made with", summary["software"]),
    ]
    return "\n\n".join(sections) + "\n"


def _purpose(info: DatasetInfo) -> str:
    resolution = f"{info.resolution_m:g} m" if info.resolution_m else "its own"
    return (
        f"Gives each pixel of a {len(info.bands)}-band image at {resolution} resolution a class "
        f"of the legend *{info.legend.name}* with its probability. The input is reflectance; "
        "the exported model takes stored values and converts them itself."
    )


def _model_rows(summary: Mapping[str, Any]) -> dict[str, Any]:
    config = summary["config"]
    depth, filters = config["encoder_depth"], config["decoder_filters"]
    return {
        "encoder": f"{config['model']} (v1.5), {depth} stages, "
        f"weights: {summary['encoder_weights']}",
        **_origin_rows(summary["pretrained"]),
        "decoder": f"skip connections: {joined_skips(config['skip_connections'], depth)}, "
        f"channels: {', '.join(map(str, filters[-depth:]))}",
        "parameters": f"{summary['parameters']:,}",
        "patch size": f"{config['patch_size']} px (any multiple of {SIZE_MULTIPLE} works)",
    }


def _origin_rows(pretrained: Mapping[str, Any] | None) -> dict[str, Any]:
    """Returns what tells the encoder's first weights and what their licence asks for."""
    if pretrained is None:
        return {}
    return {
        "origin of the encoder's weights": pretrained["url"] or pretrained["file"],
        "their SHA-256": pretrained["sha256"],
        "their licence": pretrained["license"] or "not known: a file of the user's own",
    }


def _data_rows(summary: Mapping[str, Any], info: DatasetInfo) -> dict[str, Any]:
    return {
        "dataset": f"{info.name}, hash {summary['data_hash']}",
        "bands": ", ".join(info.band_names),
        **_product_rows(info.products),
        "patches": ", ".join(f"{name} {split.records}" for name, split in info.splits.items()),
        # The settings may replace the dataset's own.
        "normalizer": summary["config"]["normalizer"] or info.normalizer.kind,
    }


def _product_rows(products: Sequence[ProductInfo]) -> dict[str, Any]:
    """Returns what tells which places, times and processing the model knows."""
    tiles = sorted({p.tile for p in products if p.tile})
    days = sorted(p.sensing_time[:10] for p in products if p.sensing_time)
    baselines = sorted({p.baseline for p in products if p.baseline})
    known = {
        "tiles": ", ".join(tiles),
        "sensed": " to ".join(dict.fromkeys([days[0], days[-1]])) if days else "",
        "processing baselines": ", ".join(baselines),
    }
    named = listed([p.id for p in products], MOST_NAMES)
    named += ", see dataset.json" if len(products) > MOST_NAMES else ""
    rows = {"products": f"{len(products)}: {named}" if products else "0"}
    return rows | {name: value for name, value in known.items() if value}


def _classes(info: DatasetInfo) -> str:
    train = info.split("train")
    pixels, fractions = train.class_pixels, train.class_fractions
    rows = [
        f"| {c.code} | {c.name} | {pixels.get(c.code, 0):,} | {fractions.get(c.code, 0):.2%} |"
        for c in info.legend.classes
    ]
    head = ["| code | class | training pixels | share |", "|---|---|---|---|"]
    return "\n".join(["## Classes", "", *head, *rows])


def _training_rows(summary: Mapping[str, Any]) -> dict[str, Any]:
    config = summary["config"]
    devices = summary["devices"]
    return {
        "epochs": f"{summary['epochs']} of {config['epochs']}, kept: {summary['best_epoch']} "
        f"(by validation {summary['monitor']})",
        "batch": f"{config['batch_size']} patches x {config['gradient_accumulation']}",
        "optimizer": f"{config['optimizer']}, peak learning rate {config['lr']:g}, "
        f"{config['schedule']}, weight decay {config['weight_decay']:g}",
        "loss": config["loss"],
        "precision": f"{summary['precision']}{' with XLA' if summary['jit'] else ''}",
        "devices": f"{devices['replicas']} on {devices['workers']} host(s)",
        "seed": config["seed"],
    }


def _score_rows(summary: Mapping[str, Any]) -> dict[str, Any]:
    scores = summary["scores"] or {}
    return {
        name.removeprefix("val_").replace("_", " "): f"{value:.4f}"
        for name, value in scores.items()
        if name.startswith("val_") and value is not None
    }


def _limits(info: DatasetInfo) -> str:
    absent = [
        c.name for c in info.legend.classes if not info.split("train").class_pixels.get(c.code)
    ]
    lines = [
        "## Limits",
        "",
        "- Validation chose the epoch, so its scores are optimistic; `landcover evaluate` "
        "scores the test split, and writes its scores here.",
        "- Other regions, seasons, sensors or processing baselines than those of the products "
        "above were not tested.",
        "- Labels have errors of their own; scores measure agreement with them. Areas of a map "
        "need a probability sample (`landcover assess`).",
    ]
    if absent:
        lines.append(f"- Never seen in training, so never predicted well: {', '.join(absent)}.")
    return "\n".join(lines)


def _table(title: str, rows: Mapping[str, Any]) -> str:
    body = [f"| {name} | {value} |" for name, value in rows.items()]
    return "\n".join([f"## {title}", "", "| | |", "|---|---|", *body])
