"""`landcover serve-report`: a report and its tiles over HTTP on this machine."""

import functools
import http.server
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from landcover_tf.configs import cli, flag_ranges
from landcover_tf.errors import ConfigError, OutputError


@dataclass(frozen=True, kw_only=True)
class ServeConfig:
    """Serve a folder with a report to browsers on this machine."""

    report: Path
    """The report's HTML file, or its folder."""
    port: int = 8000
    """TCP port on 127.0.0.1; 0 takes a free one."""

    def __post_init__(self) -> None:
        flag_ranges.within(self, 0, 65535, "port")


def make_server(report: Path, port: int) -> http.server.ThreadingHTTPServer:
    """Returns a server of the report's folder, bound to 127.0.0.1 and not yet serving.

    Raises:
        ConfigError: There is no such report.
        OutputError: The port is taken.
    """
    folder = report if report.is_dir() else report.parent
    if not report.exists():
        raise ConfigError(f"{report} does not exist; write it with `landcover report` first")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    try:
        return http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)
    except OSError as error:
        raise OutputError(f"cannot serve on port {port}: {error}; choose another --port") from error


def main(argv: list[str] | None = None) -> int:
    """Serves until interrupted."""
    return cli.run(ServeConfig, _serve, argv, prog="landcover serve-report")


def _serve(config: ServeConfig) -> None:
    with make_server(config.report, config.port) as server:
        name = "" if config.report.is_dir() else config.report.name
        address = f"http://127.0.0.1:{server.server_port}/{quote(name)}"
        print(f"{address} (Ctrl-C ends)", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    sys.exit(main())
