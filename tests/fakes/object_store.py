"""A local server that speaks what `fetch` needs: bucket listings, ranges, ETags and STAC.

It is strict about what it is asked and can be told to misbehave, once per entry of `faults`.
"""

import base64
import hashlib
import json
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

if TYPE_CHECKING:
    from landcover_tf.sentinel2.fetch_http import HttpClient

N36E021 = "ESA_WorldCover_10m_2021_v200_N36E021_Map.tif"
MAP = f"worldcover/v200/2021/map/{N36E021}"
"""Where the services keep a WorldCover tile."""
PAGE = 5
"""Objects or prefixes on one page of a listing."""


@dataclass
class ObjectStore:
    """What the server holds and what it saw."""

    objects: dict[str, bytes] = field(default_factory=dict)
    """Content by path, without leading slash."""
    items: list[dict[str, Any]] = field(default_factory=list)
    """STAC items."""
    faults: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Faults by path, consumed one a request: 503, 403, cut, garble, norange, silence."""
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    """Method, path and Range of every request."""
    url: str = ""

    @property
    def flags(self) -> list[str]:
        """Flags that point `fetch` here."""
        return [
            *("--listing-url", f"{self.url}/storage/v1/b/bucket/o"),
            *("--download-url", f"{self.url}/bucket"),
            *("--worldcover-url", f"{self.url}/worldcover"),
            *("--retry-wait-s", "0.01", "--timeout-s", "20"),
        ]

    def gets(self, path: str) -> list[str]:
        """Returns the ranges asked of one path."""
        return [
            ranges for method, asked, ranges in self.requests if (method, asked) == ("GET", path)
        ]


def quick_client() -> "HttpClient":
    """Returns a client that does not wait long."""
    from landcover_tf.sentinel2.fetch_http import HttpClient

    return HttpClient(attempts=4, first_wait_s=0.01, timeout_s=20.0)


@contextmanager
def serving(store: ObjectStore) -> Iterator[ObjectStore]:
    """Serves `store` on a free port of 127.0.0.1."""

    class Handler(_Handler):
        held = store

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    store.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield store
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    held: ObjectStore

    def log_message(self, *arguments: Any) -> None:
        """Keeps the test output quiet."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.held.requests.append(("POST", self.path, ""))
        self._json(_search(self.held, json.loads(body)))

    def _answer(self) -> None:
        parts = urlsplit(self.path)
        path = unquote(parts.path).lstrip("/")
        self.held.requests.append((self.command, path, self.headers.get("Range", "")))
        faults = self.held.faults.get(path, [])
        fault = faults.pop(0) if faults else ""
        if fault.isdigit():
            self._send(int(fault), b"no", {"Retry-After": "0"} if fault == "429" else {})
        elif path == "storage/v1/b/bucket/o":
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            self._json(_listing(self.held.objects, query))
        elif path == "stac/":
            self._json(_landing(self.held.url))
        elif path in self.held.objects:
            self._object(self.held.objects[path], fault)
        else:
            self._send(404, b"not found", {})

    def _object(self, content: bytes, fault: str) -> None:
        headers = {"ETag": f'"{hashlib.md5(content).hexdigest()}"'}
        status, asked = 200, self.headers.get("Range")
        if asked and fault != "norange":
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                self._send(416, b"", {})
                return
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            status, content = 206, content[start:]
        if fault == "garble":
            content = bytes(255 - value for value in content)
        self._send(status, content, headers, cut=fault == "cut")

    def _json(self, value: Any) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send(
        self, status: int, content: bytes, headers: dict[str, str], *, cut: bool = False
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "HEAD":
            return
        self.wfile.write(content[: len(content) // 2] if cut else content)
        if cut:
            self.wfile.flush()
            self.close_connection = True


def _listing(objects: dict[str, bytes], query: dict[str, str]) -> dict[str, Any]:
    """Returns a page as Google's JSON API describes it (objects.list)."""
    prefix, delimiter = query["prefix"], query.get("delimiter")
    names = sorted(
        name.removeprefix("bucket/") for name in objects if name.startswith(f"bucket/{prefix}")
    )
    entries: dict[str, dict[str, Any] | None] = {}
    for name in names:
        rest = name.removeprefix(prefix)
        if delimiter and delimiter in rest:
            entries[prefix + rest.split(delimiter)[0] + delimiter] = None
        else:
            content = objects[f"bucket/{name}"]
            entries[name] = {
                "name": name,
                "size": str(len(content)),
                "md5Hash": base64.b64encode(hashlib.md5(content).digest()).decode(),
            }
    start = int(query.get("pageToken", "0"))
    chosen = list(entries.items())[start : start + PAGE]
    page: dict[str, Any] = {}
    if any(value is None for _, value in chosen):
        page["prefixes"] = [name for name, value in chosen if value is None]
    if any(value is not None for _, value in chosen):
        page["items"] = [value for _, value in chosen if value is not None]
    if start + PAGE < len(entries):
        page["nextPageToken"] = str(start + PAGE)
    return page


def _landing(url: str) -> dict[str, Any]:
    """Returns the landing page of a STAC API with item search."""
    return {
        "type": "Catalog",
        "stac_version": "1.0.0",
        "id": "fake",
        "description": "fake",
        "conformsTo": [
            "https://api.stacspec.org/v1.0.0/core",
            "https://api.stacspec.org/v1.0.0/item-search",
        ],
        "links": [
            {"rel": "self", "href": f"{url}/stac/"},
            {"rel": "root", "href": f"{url}/stac/"},
            {
                "rel": "search",
                "href": f"{url}/stac/search",
                "type": "application/geo+json",
                "method": "POST",
            },
        ],
    }


def stac_item(name: str, box: tuple[float, float, float, float], **properties: Any) -> dict:
    """Returns a STAC item of a product whose pixels fill a box: west, south, east, north."""
    west, south, east, north = box
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": name,
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "bbox": list(box),
        "properties": properties,
        "links": [],
        "assets": {},
    }


def _meet(first: dict[str, Any], second: dict[str, Any]) -> bool:
    """Returns whether the boxes around two geometries overlap."""
    a, b = np.array(_box(first)), np.array(_box(second))
    return bool((np.maximum(a[:2], b[:2]) <= np.minimum(a[2:], b[2:])).all())


def _box(geometry: dict[str, Any]) -> list[float]:
    """Returns west, south, east and north of a GeoJSON geometry."""
    points = np.array(_points(geometry["coordinates"]))
    return [*points.min(axis=0), *points.max(axis=0)]


def _points(coordinates: list[Any]) -> list[list[float]]:
    """Returns the positions in GeoJSON coordinates of any depth."""
    if isinstance(coordinates[0], int | float):
        return [coordinates]
    return [point for part in coordinates for point in _points(part)]


def _search(store: ObjectStore, body: dict[str, Any]) -> dict[str, Any]:
    """Returns one page of items; filters by day and place only, as the least able endpoints do."""
    start, end = body["datetime"].split("/")
    if body["collections"] != ["sentinel-2-l1c"]:
        return {"type": "FeatureCollection", "features": []}
    found = [
        item
        for item in store.items
        if start <= item["properties"]["datetime"] <= end
        and _meet(item["geometry"], body["intersects"])
    ]
    offset = body.get("offset", 0)
    page = {"type": "FeatureCollection", "features": found[offset : offset + 2], "links": []}
    if offset + 2 < len(found):
        page["links"] = [
            {
                "rel": "next",
                "href": f"{store.url}/stac/search",
                "method": "POST",
                "body": body | {"offset": offset + 2},
            }
        ]
    return page
