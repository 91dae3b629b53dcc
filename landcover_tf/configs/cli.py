"""Command lines from config dataclasses, and the one way programs end.

A config file is a list of flags placed before the command line's own, so a file and a flag
share one parser, one set of types and one set of messages.
"""

import argparse
import contextlib
import dataclasses
import inspect
import io
import os
import shlex
import signal
import sys
import traceback
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import tyro

from landcover_tf.configs import help_texts
from landcover_tf.configs.config_files import (
    flag_of,
    flags_of_file,
    flags_of_values,
)
from landcover_tf.errors import ConfigError, LandCoverError
from landcover_tf.system.signals import INTERRUPTED, obeyed

Config = TypeVar("Config")


def run(
    config_class: type[Config],
    program: Callable[[Config], int | None],
    argv: list[str] | None,
    *,
    prog: str,
) -> int:
    """Returns the exit code of `program` run on the parsed config.

    0 is success, 1 a negative finding (a failed audit), 2 bad input, 130 Ctrl-C, 143 SIGTERM, both
    after what was begun is cleared away, and 70 an error of the program, with its traceback.
    Errors of the user's making are printed as one sentence without one.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # Inherited by worker processes.
    if isinstance(sys.stdout, io.TextIOWrapper):
        # The name of a file must not end a batch where the terminal cannot show it.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        if sys.platform == "win32":
            raise ConfigError(f"{prog} runs on Linux and macOS; on Windows, run it inside WSL2")
        with obeyed():
            config = parse(config_class, argv, prog=command(prog, argv))
            return program(config) or 0
    except LandCoverError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader (head, less) left; a second error while Python flushes helps nobody.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except OSError as error:
        # Of a file where no program foresaw it, such as a folder that may not be entered.
        print(f"error: {_of_file(error)}", file=sys.stderr)
        return 2
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 2
    except Exception:
        # Not Python's own 1, which would be taken for a finding.
        traceback.print_exc()
        return 70


def _of_file(error: OSError) -> str:
    return str(error) if error.filename is None else f"{error.filename}: {error.strerror}"


def command(prog: str, argv: list[str] | None) -> str:
    """Returns how a program was started: `prog`, or `python -m MODULE` where it was run so.

    Args:
        prog: The command, such as `landcover prepare`.
        argv: What the program got; None where it reads `sys.argv`.
    """
    spec = sys.modules["__main__"].__spec__
    if argv is not None or spec is None:
        return prog
    return f"python -m {spec.name.removesuffix('.__main__')}"


def print_next(program: str, **flags: str | Path) -> None:
    """Prints the command that usually follows on a program's own output."""
    words = [f"{flag_of(name)} {shlex.quote(str(v))}" for name, v in flags.items()]
    print(f"next: landcover {' '.join([program, *words])}")


def parse(config_class: type[Config], argv: list[str] | None = None, *, prog: str) -> Config:
    """Returns `config_class` from defaults, then `--config FILE`, then flags.

    Args:
        config_class: A frozen dataclass with a docstring under each field.
        argv: Arguments without the program name; None reads `sys.argv`.
        prog: The command that runs the program, for usage and messages.

    Raises:
        ConfigError: The config file has an unknown key or a value was refused.
        SystemExit: A flag is unknown or ill-typed (2) or help was asked for (0).
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--config", type=Path)
    known, flags = first.parse_known_args(arguments)
    if known.config:
        flags = _after(flags_of_file(known.config, config_class), flags, config_class)
    description = (
        f"{inspect.cleandoc(config_class.__doc__ or '')}\n\n"
        "--config FILE reads flags from TOML or JSON."
    )
    if {"-h", "--help"} & set(flags):
        help_texts.show(config_class, prog=prog, description=description)
    try:
        return tyro.cli(
            config_class,
            args=_without_flags(config_class, flags),
            prog=prog,
            description=description,
            config=(tyro.conf.OmitArgPrefixes,),
        )
    except ValueError as error:
        raise ConfigError(f"{prog}: {error}") from error


def _after(of_file: list[str], flags: list[str], config_class: type[Any]) -> list[str]:
    """Returns the flags of a file before the command line's, of which the last one wins.

    Of positional fields both would count: those of the file go where the command line has them.
    """
    named = _positional_flags(config_class)
    # Each has one value.
    here = {i for i, flag in enumerate(of_file) if flag in named}
    others = [f for i, f in enumerate(of_file) if i not in here and i - 1 not in here] + flags
    if here and _is_complete(config_class, others):
        return others
    return of_file + flags


def _is_complete(config_class: type[Any], flags: list[str]) -> bool:
    """Returns whether flags have all that a config needs, whatever it thinks of the values."""
    try:
        _of_flags(config_class, _without_flags(config_class, flags), "")
    except (ConfigError, ValueError) as error:
        return not isinstance(error.__cause__, SystemExit)
    return True


def from_dict(config_class: type[Config], values: dict[str, Any], where: str) -> Config:
    """Returns a config from plain values, checked as flags are.

    Args:
        config_class: A frozen dataclass.
        values: Values by field name, as `config_dict` gives them.
        where: What holds them, for the message.

    Raises:
        ConfigError: A field is unknown, or a value is missing, ill-typed or refused.
    """
    fields = dataclasses.fields(config_class)  # type: ignore[arg-type]
    unknown = values.keys() - {f.name for f in fields}
    if unknown:
        raise ConfigError(f"{where}: unknown {', '.join(sorted(unknown))}")
    return _of_flags(config_class, flags_of_values(config_class, values, where), where)


def from_file(config_class: type[Config], path: Path) -> Config:
    """Returns a config from a TOML or JSON file alone, checked as flags are.

    Raises:
        ConfigError: The file is missing or malformed, or a key or value was refused; it is named.
    """
    flags, where = flags_of_file(path, config_class), str(path)
    try:
        return _of_flags(config_class, flags, where)
    except ConfigError as error:
        if str(error).startswith(where):
            raise
        raise ConfigError(f"{where}: {error}") from error


def _without_flags(config_class: type[Any], flags: list[str]) -> list[str]:
    """Returns flags with those of positional fields, `--data-dir X`, as `X`.

    These come first: behind a flag of several values they would count among those.
    """
    named = _positional_flags(config_class)
    first: list[str] = []
    others: list[str] = []
    rest = iter(flags)
    for flag in rest:
        name, equals, value = flag.partition("=")
        if name in named:
            first += [value] if equals else islice(rest, 1)
        else:
            others.append(flag)
    return first + others


def _positional_flags(config_class: type[Any]) -> set[str]:
    hints = get_type_hints(config_class, include_extras=True)
    return {
        flag_of(name)
        for name, hint in hints.items()
        if tyro.conf.Positional in getattr(hint, "__metadata__", ())
    }


def _of_flags(config_class: type[Config], flags: list[str], where: str) -> Config:
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            return tyro.cli(config_class, args=flags, config=(tyro.conf.OmitArgPrefixes,))
    except SystemExit as error:
        raise ConfigError(f"{where}: {_sentence(said.getvalue())}") from error


def _sentence(message: str) -> str:
    """Returns what the parser says in its box, without the box and the flag's help."""
    words = []
    for line in message.split("Argument helptext")[0].splitlines():
        line = line.strip(" │╭╰─╮╯-")
        if line and not line.startswith(("Parsing error", "For full help")):
            words.append(line)
    return " ".join(words)
