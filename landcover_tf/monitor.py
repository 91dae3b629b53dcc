"""Entry of `landcover monitor`: is what is served still what the model was trained on?"""

import json
import sys
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

from landcover_tf.accuracy.drift import Distribution, Drift, compare
from landcover_tf.accuracy.request_log import LoggedModel, Served, read_log
from landcover_tf.configs import cli, config_files, flag_ranges
from landcover_tf.datasets.band_statistics import BandStatistics
from landcover_tf.datasets.dataset_info import DatasetInfo
from landcover_tf.errors import ConfigError, DatasetError
from landcover_tf.legend import Legend, code_fractions
from landcover_tf.model_info import ModelInfo, find_export
from landcover_tf.monitor_page import page
from landcover_tf.system.earlier_reports import require_report
from landcover_tf.system.files import read_json, write_json, write_text

SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class MonitorConfig:
    """Compares a log of finished maps with the training data. Writes JSON and HTML; exits 1
    when a band's population stability index or the shift of class shares is over its limit."""

    requests: Path
    """Log that landcover predict --request-log wrote."""
    reference: Path
    """dataset.json of the training data of the model that was served, or an export of a model
    with that training data, whose model.json holds the same."""
    output_dir: Path | None = None
    """Receives monitor.json and monitor.html; the log's folder by default."""
    start: str | None = None
    """First day of the images that count, YYYY-MM-DD, UTC: when they were sensed or, where they do
    not tell, when their maps were made. By default all count."""
    end: str | None = None
    """Last day, included."""
    max_stability_index: float = 0.25
    """Highest population stability index of any band; 0.1 is the usual warning level."""
    max_class_shift: float = 0.2
    """Largest half sum of absolute differences between class shares, in [0, 1]."""

    def __post_init__(self) -> None:
        flag_ranges.above_zero(self, "max_stability_index", "max_class_shift")
        start, end = self.days
        if start and end and end < start:
            raise ConfigError(f"--end {end} lies before --start {start}")

    @property
    def days(self) -> tuple[date | None, date | None]:
        """First and last day, None where not given."""
        start, end = (
            None if text is None else flag_ranges.day_of(flag, text)
            for flag, text in (("--start", self.start), ("--end", self.end))
        )
        return start, end


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The training data as a dataset or a model describes it."""

    name: str
    data_hash: str
    """Empty where an export does not tell."""
    distribution: Distribution
    legend: Legend


def main(argv: list[str] | None = None) -> int:
    """Runs the program and returns its exit code."""
    return cli.run(MonitorConfig, _program, argv, prog="landcover monitor")


def load_reference(path: Path) -> Reference:
    """Returns the training data described by a dataset.json, a model.json, or an export.

    Raises:
        DatasetError: The file is neither, or lacks statistics.
        ModelError: The folder holds no export.
    """
    if path.is_dir() and not (path / "dataset.json").is_file():
        path = find_export(path) / "model.json"
    path = path / "dataset.json" if path.is_dir() else path
    values = read_json(path)
    if isinstance(values, dict) and "class_fractions" in values:
        info = ModelInfo.load(path.parent)
        if not info.statistics:
            raise DatasetError(f"{path} has no statistics of its training data; export again")
        return Reference(
            name=f"model {info.name}/{info.version}, data hash {info.data_hash}",
            data_hash=info.data_hash,
            distribution=Distribution(
                statistics=BandStatistics.from_dict(info.statistics),
                class_fractions={int(c): f for c, f in info.class_fractions.items()},
            ),
            legend=info.legend,
        )
    dataset = DatasetInfo.load(path)
    return Reference(
        name=f"dataset {dataset.name}, data hash {dataset.data_hash}",
        data_hash=dataset.data_hash,
        distribution=Distribution(
            statistics=dataset.statistics,
            class_fractions=dataset.split("train").class_fractions,
        ),
        legend=dataset.legend,
    )


def _program(config: MonitorConfig) -> int:
    return 1 if monitor_maps(config) else 0


def monitor_maps(config: MonitorConfig) -> list[str]:
    """Writes monitor.json and monitor.html and returns what is over a limit, a sentence each.

    Raises:
        LandCoverError: The log or the reference is unfit, they do not belong together, or other
            files are in the place of what is written.
    """
    folder = config.output_dir or config.requests.parent
    require_report(folder / "monitor.json", ("schema_version", "findings", "class_shift"))
    require_report(folder / "monitor.html")
    reference = load_reference(config.reference)
    served = read_log(config.requests, *config.days)
    _require_same(served, reference, config.requests)
    observed = Distribution(
        statistics=served.statistics, class_fractions=code_fractions(served.class_pixels)
    )
    drift = compare(reference.distribution, observed)
    findings = _findings(drift, config)
    result = _result(config, reference, served, drift, findings)
    write_json(folder / "monitor.json", result)
    write_text(folder / "monitor.html", page(result, drift, reference.legend))
    worst = drift.worst_band
    again = f" ({served.superseded} older ones were made again)" if served.superseded else ""
    shift = "unknown" if drift.class_shift is None else f"{drift.class_shift:.3f}"
    print(
        f"maps: {served.maps}{again}; highest stability index {worst.stability_index:.3f} "
        f"({worst.name}), class shift {shift}; see {folder / 'monitor.html'}"
    )
    for warning in _warnings(served):
        print(f"warning: {warning}", file=sys.stderr)
    for finding in findings:
        print(f"over the limit: {finding}")
    return findings


def _require_same(served: Served, reference: Reference, log: Path) -> None:
    """Raises DatasetError when a model of the log has other training data or another legend."""
    legend = reference.legend
    problems = []
    for model in served.models:
        if model.data_hash and reference.data_hash and model.data_hash != reference.data_hash:
            problems.append(f"{model.name} was trained on data hash {model.data_hash}")
        if (model.legend, model.codes) != (legend.name, legend.codes):
            problems.append(f"{model.name} has legend {model.legend} {list(model.codes)}")
    unknown = sorted(served.class_pixels.keys() - set(legend.codes))
    if unknown:
        problems.append(f"maps have codes {unknown}")
    if problems:
        raise DatasetError(
            f"{log} does not belong to the reference ({reference.name}, legend {legend.name} "
            f"{list(legend.codes)}): {'; '.join(problems)}; give the export that made the maps as "
            "--reference, and keep one log for each model"
        )


def _warnings(served: Served) -> list[str]:
    found = []
    if len(served.models) > 1:
        names = ", ".join(_described(model) for model in served.models)
        found.append(
            f"the log mixes {len(served.models)} models ({names}), and every figure is about all "
            "of their maps; keep one log for each model"
        )
    silent = sorted({model.name for model in served.models if not model.data_hash})
    if silent:
        found.append(
            f"the log does not tell the training data of {', '.join(silent)}, so nothing shows "
            "that the reference is theirs"
        )
    return found


def _described(model: LoggedModel) -> str:
    return f"{model.name} {model.sha256[:12]}".strip()


def _findings(drift: Drift, config: MonitorConfig) -> list[str]:
    findings = [
        f"band {band.name} has stability index {band.stability_index:.3f}, limit "
        f"{config.max_stability_index:g}"
        for band in drift.bands
        if band.stability_index > config.max_stability_index
    ]
    if drift.class_shift is not None and drift.class_shift > config.max_class_shift:
        findings.append(
            f"class shares shifted by {drift.class_shift:.3f}, limit {config.max_class_shift:g}"
        )
    return findings


def _result(
    config: MonitorConfig, reference: Reference, served: Served, drift: Drift, findings: list[str]
) -> dict[str, object]:
    return {
        "schema_version": SCHEMA_VERSION,
        "config": config_files.config_dict(config),
        "reference": reference.name,
        "models": sorted({model.name for model in served.models}),
        "warnings": _warnings(served),
        "from": served.first_time,
        "to": served.last_time,
        "maps": served.maps,
        "superseded_maps": served.superseded,
        "windows": served.windows,
        "sampled_pixels": served.sampled_pixels,
        "findings": findings,
        "class_shift": drift.class_shift,
        "class_fractions": {
            str(code): {"expected": expected, "observed": observed}
            for code, (expected, observed) in drift.class_fractions.items()
        },
        "bands": json.loads(json.dumps([asdict(band) for band in drift.bands])),
    }


if __name__ == "__main__":
    sys.exit(main())
