"""The search space: which fields of TrainConfig a search varies, and over which values.

A space is a JSON file: {"name": …, "fixed": {field: value}, "search": {field: range}}. A range is
{"choices": [v, …]} or {"min": a, "max": b} with an optional "scale" (linear or log) and "step".
"""

import dataclasses
import difflib
import hashlib
import json
import math
import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import combinations, islice, product
from pathlib import Path
from typing import Any

from landcover_tf.configs import cli
from landcover_tf.errors import ConfigError
from landcover_tf.system.files import read_json
from landcover_tf.training.config import TrainConfig

PRESETS = Path(__file__).parent / "presets"

# The search itself sets these: where the run lies, and by what it is judged.
OWN_FIELDS = frozenset({"data_dir", "output_dir", "monitor"})
TRIES = 100
"""Values of the other fields beside which a value is tried, 0.02 s each; in the shipped spaces all
of any one other field are among them."""


@dataclass(frozen=True, kw_only=True)
class Range:
    """The values that one field may take: listed choices, or numbers between two limits."""

    choices: tuple[Any, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    step: float | None = None
    log: bool = False
    whole: bool = False
    """The field is an integer."""

    @classmethod
    def from_dict(cls, values: Any, where: str, kind: type | None) -> "Range":
        """Returns the range that JSON describes.

        Args:
            values: The JSON.
            where: File and field, for the message.
            kind: int or float, what the field holds; None when it holds no number.

        Raises:
            ConfigError: It is neither choices nor limits, or the limits are no range of the field.
        """
        if not isinstance(values, dict) or not values.keys() <= _KEYS:
            raise ConfigError(f"{where}: expected an object with {sorted(_KEYS)}, got {values!r}")
        if "choices" in values:
            return cls._of_choices(values, where)
        low, high, step = values.get("min"), values.get("max"), values.get("step")
        numbers = [n for n in (low, high, step) if n is not None]
        if low is None or high is None or any(not _is_number(n) for n in numbers):
            raise ConfigError(f"{where}: expected choices, or min and max as numbers, got {values}")
        scale = values.get("scale", "linear")
        if scale not in ("linear", "log") or not low < high or (scale == "log" and low <= 0):
            raise ConfigError(
                f"{where}: expected min < max and scale linear or log (log above 0), got {values}"
            )
        if step is not None and (step <= 0 or scale == "log"):
            raise ConfigError(f"{where}: a step is above 0 and on a linear scale, got {values}")
        # By the field and not by how the limits are written: {"min": 0, "max": 1} of a weight
        # would otherwise try 0 and 1 only.
        whole = kind is int
        if kind is None or (whole and not all(isinstance(n, int) for n in numbers)):
            holds = "whole numbers" if whole else "no numbers, so it needs choices"
            raise ConfigError(f"{where}: the field holds {holds}, got {values}")
        return cls(minimum=low, maximum=high, step=step, log=scale == "log", whole=whole)

    @classmethod
    def _of_choices(cls, values: Mapping[str, Any], where: str) -> "Range":
        choices = values["choices"]
        if values.keys() != {"choices"} or not isinstance(choices, list) or not choices:
            raise ConfigError(f"{where}: choices are a list of at least one value, got {values}")
        return cls(choices=tuple(choices))

    def register(self, name: str, hyperparameters: Any) -> None:
        """Adds the range to `keras_tuner.HyperParameters`."""
        if self.choices:
            # KerasTuner takes plain values only; JSON text carries lists and None as well.
            hyperparameters.Choice(name, [json.dumps(c) for c in self.choices], ordered=False)
            return
        if self.step and not self.whole:
            # KerasTuner 1.4.8 counts steps of fractions in floats, and so leaves out 0.3 of 0 to
            # 0.3 in steps of 0.05 and gives 0.2 and 0.25 one place.
            hyperparameters.Choice(name, list(self.chosen()), ordered=True)
            return
        sampling = "log" if self.log else "linear"
        make = hyperparameters.Int if self.whole else hyperparameters.Float
        step = {} if self.step is None else {"step": self.step}
        make(name, self.minimum, self.maximum, sampling=sampling, **step)

    def value(self, chosen: Any) -> Any:
        """Returns the field's value for what KerasTuner chose."""
        return json.loads(chosen) if self.choices else chosen

    def count(self) -> float:
        """Returns how many values there are, infinity between limits without a step."""
        if self.choices:
            return len({json.dumps(choice) for choice in self.choices})
        if self.step is None and not self.whole:
            return math.inf
        low, high, step = self._exact()
        return int((high - low) // step) + 1

    def chosen(self) -> Iterable[Any]:
        """Returns all that KerasTuner may choose; `count` of them must be finite."""
        if self.choices:
            return dict.fromkeys(json.dumps(choice) for choice in self.choices)
        low, _, step = self._exact()
        kind = int if self.whole else float
        return (kind(low + i * step) for i in range(int(self.count())))

    def _exact(self) -> tuple[Decimal, Decimal, Decimal]:
        """Returns the limits and the step as they are written, not as the nearest floats."""
        low, high, step = (Decimal(str(n)) for n in (self.minimum, self.maximum, self.step or 1))
        return low, high, step

    def extremes(self) -> tuple[Any, ...]:
        """Returns values that a config must accept if it accepts the range."""
        return self.choices or (self.minimum, self.maximum)


_KEYS = {"choices", "min", "max", "scale", "step"}


@dataclass(frozen=True, kw_only=True)
class SearchSpace:
    """Fields that are searched, fields that are fixed; all others keep their default."""

    name: str
    fixed: Mapping[str, Any]
    search: Mapping[str, Range]
    source: Mapping[str, Any]
    """The JSON that it was read from."""

    @property
    def hash(self) -> str:
        """Digest of everything that decides what is searched."""
        text = json.dumps([self.source.get("fixed", {}), self.source["search"]], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def combinations(self) -> float:
        """How many settings differ; infinity where a field takes any number between limits."""
        return math.prod(one.count() for one in self.search.values())

    def chosen(self) -> Iterator[dict[str, Any]]:
        """Yields all `combinations`, a finite number of them, as KerasTuner would choose them."""
        for values in product(*(one.chosen() for one in self.search.values())):
            yield dict(zip(self.search, values, strict=True))

    def hyperparameters(self) -> Any:
        """Returns the space as `keras_tuner.HyperParameters`."""
        import keras_tuner

        found = keras_tuner.HyperParameters()
        for name, one in self.search.items():
            one.register(name, found)
        return found

    def settings(self, chosen: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the fields of TrainConfig for what KerasTuner chose; its own keys are left out.

        Args:
            chosen: Values by name, as in `HyperParameters.values`.
        """
        varied = {name: one.value(chosen[name]) for name, one in self.search.items()}
        return {**self.fixed, **varied}

    def check(self, data_dir: Path, base: Mapping[str, Any]) -> TrainConfig:
        """Checks that TrainConfig accepts every limit and choice; returns one accepted config.

        Each counts as accepted beside the fixed values and defaults, or beside limits and choices
        of the other fields: statistics in the input's skip, say, need that skip.

        Args:
            data_dir: The dataset.
            base: Settings of every trial below the space's own.

        Raises:
            ConfigError: It does not.
        """
        found = [
            self._accepted(name, value, data_dir, {**base, **self.fixed})
            for name, one in self.search.items()
            for value in one.extremes()
        ]
        return found[0]

    def _accepted(
        self, name: str, value: Any, data_dir: Path, settings: Mapping[str, Any]
    ) -> TrainConfig:
        reason = None
        for others in islice(self._beside(name), TRIES):
            try:
                return train_config({**settings, **others, name: value}, data_dir, Path("run"))
            except ConfigError as error:
                reason = reason or error
        raise ConfigError(
            f"search space {self.name!r}: {name} {json.dumps(value)} is refused, whichever limits "
            f"and choices of the other fields were tried with it: {reason}"
        ) from reason

    def _beside(self, name: str) -> Iterator[dict[str, Any]]:
        """Yields values of the other fields: of none first, then of one, of two and so on."""
        others = [(n, one.extremes()) for n, one in self.search.items() if n != name]
        for size in range(len(others) + 1):
            for chosen in combinations(others, size):
                names = [n for n, _ in chosen]
                for values in product(*(extremes for _, extremes in chosen)):
                    yield dict(zip(names, values, strict=True))


def load_space(name_or_path: str) -> SearchSpace:
    """Returns a shipped space by name, or one from a JSON file.

    Raises:
        ConfigError: There is no such space, the file is malformed, or it names a field that
            TrainConfig lacks.
    """
    shipped = PRESETS / f"{name_or_path}.json"
    path = shipped if shipped.is_file() else Path(name_or_path)
    if not path.is_file():
        names = ", ".join(sorted(p.stem for p in PRESETS.glob("*.json")))
        raise ConfigError(f"no search space {name_or_path!r}: give one of {names}, or a JSON file")
    return space_of(read_json(path), path)


def space_of(values: Any, path: Path) -> SearchSpace:
    """Returns the space that JSON describes.

    Raises:
        ConfigError: See `load_space`.
    """
    if not isinstance(values, dict) or not isinstance(values.get("search"), dict):
        raise ConfigError(f"search space {path} must be an object with a 'search' object")
    fixed = values.get("fixed", {})
    unknown = values.keys() - {"name", "description", "fixed", "search"}
    if unknown or not isinstance(fixed, dict) or not values["search"]:
        raise ConfigError(
            f"search space {path} holds 'name', 'description', 'fixed' and a 'search' with at "
            f"least one field; got {sorted(values)}"
        )
    for name in (*fixed, *values["search"]):
        check_field(name, path)
    twice = fixed.keys() & values["search"].keys()
    if twice:
        raise ConfigError(f"search space {path} both fixes and searches {', '.join(sorted(twice))}")
    return SearchSpace(
        name=values.get("name", path.stem),
        fixed=fixed,
        search={
            n: Range.from_dict(v, f"{path}, {n}", _number_kind(n))
            for n, v in values["search"].items()
        },
        source=values,
    )


def check_field(name: str, path: Path) -> None:
    """Checks that a training config has the field and that a file may set it.

    Raises:
        ConfigError: It has not, or the search sets it itself.
    """
    fields = [f.name for f in dataclasses.fields(TrainConfig)]
    if name in OWN_FIELDS:
        raise ConfigError(f"{path} sets {name!r}, which is set for each run; remove it")
    if name not in fields:
        close = difflib.get_close_matches(name, fields, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ConfigError(f"{path} names {name!r}, which the training config lacks{hint}")


def train_config(settings: Mapping[str, Any], data_dir: Path, output_dir: Path) -> TrainConfig:
    """Returns the training config of one run, checked as the command line's own.

    Raises:
        ConfigError: A value is ill-typed or refused.
    """
    fields = {f.name: f.default for f in dataclasses.fields(TrainConfig)}
    defaults = {n: d for n, d in fields.items() if d is not dataclasses.MISSING}
    values = {**defaults, **settings, "data_dir": str(data_dir), "output_dir": str(output_dir)}
    return cli.from_dict(TrainConfig, values, "the training settings")


def _number_kind(name: str) -> type | None:
    hint = typing.get_type_hints(TrainConfig)[name]
    kinds = (hint, *typing.get_args(hint))  # `float | None` holds a float, too.
    return next((kind for kind in (int, float) if kind in kinds), None)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)
