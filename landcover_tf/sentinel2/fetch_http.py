"""HTTP that survives bad lines: retries with growing waits, downloads that resume and check."""

import base64
import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from landcover_tf.errors import OutputError, ServerError

# What has not filled a chunk when the line breaks is lost, so chunks are small.
_CHUNK_BYTES = 1 << 16
_LONGEST_WAIT_S = 60.0
_TRY_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})


class NotFoundError(ServerError):
    """The server has no such file."""


class _TransientError(Exception):
    """Worth another attempt."""

    def __init__(self, message: str, wait_s: float | None = None) -> None:
        super().__init__(message)
        self.wait_s = wait_s


@dataclass(frozen=True, kw_only=True)
class HttpClient:
    """Fetches addresses and files; safe to share among threads."""

    attempts: int = 6
    """How often one address is tried."""
    first_wait_s: float = 1.0
    """Wait before the second attempt; it doubles up to a minute, or is what the server asks."""
    timeout_s: float = 60.0
    """Longest silence of the server."""
    session: requests.Session = field(default_factory=requests.Session, repr=False)

    def get_json(self, url: str, params: dict[str, str] | None = None) -> Any:
        """Returns the parsed answer.

        Raises:
            NotFoundError: The server has no such address.
            ServerError: The server refuses, does not answer, or answers something else.
        """

        def attempt() -> Any:
            with self._get(url, params=params) as response:
                try:
                    return response.json()
                except ValueError as error:
                    raise ServerError(
                        f"expected JSON from {url}, got {response.text[:80]!r}"
                    ) from error

        return self._persist(url, attempt)

    def get_bytes(self, url: str) -> bytes:
        """Returns a small file's content; raises as `get_json`."""

        def attempt() -> bytes:
            with self._get(url) as response:
                return bytes(response.content)

        return bytes(self._persist(url, attempt))

    def head(self, url: str) -> dict[str, str]:
        """Returns the headers of a file, names in lower case; raises as `get_json`."""

        def attempt() -> dict[str, str]:
            with self._get(url, method="HEAD") as response:
                return {name.lower(): value for name, value in response.headers.items()}

        headers: dict[str, str] = self._persist(url, attempt)
        return headers

    def download(
        self,
        url: str,
        path: Path,
        *,
        size_bytes: int,
        md5: str | None = None,
        advance: Callable[[int], object] = lambda count: None,
    ) -> None:
        """Downloads a file, continuing where an earlier attempt or run stopped.

        The bytes gather in `path` with .part appended, which gets its name only when size and
        checksum are right. A file already there and right is left alone.

        Args:
            url: Its address.
            path: The file to write.
            size_bytes: The size it must have.
            md5: Its MD5 in hexadecimal, None where the server tells none.
            advance: Is told how many bytes came (negative when a bad part is dropped).

        Raises:
            NotFoundError: The server has no such file.
            ServerError: It did not come whole and right within the attempts.
            OutputError: It cannot be written.
        """
        part = path.with_name(path.name + ".part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists():
                if _is_right(path, size_bytes, md5):
                    advance(size_bytes)
                    return
                path.unlink()
            if part.exists() and part.stat().st_size > size_bytes:
                part.unlink()
            advance(part.stat().st_size if part.exists() else 0)
            self._persist(url, lambda: self._download_rest(url, part, size_bytes, md5, advance))
            part.replace(path)
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error}") from error

    def _download_rest(
        self,
        url: str,
        part: Path,
        size_bytes: int,
        md5: str | None,
        advance: Callable[[int], object],
    ) -> None:
        have = part.stat().st_size if part.exists() else 0
        if have < size_bytes or not have:
            headers = {"Range": f"bytes={have}-"} if have else {}
            with self._get(url, headers=headers) as response:
                if have and response.status_code != 206:
                    # The server ignored the range and sends the file from its start.
                    advance(-have)
                    have = 0
                with part.open("ab" if have else "wb") as file:
                    for chunk in response.iter_content(_CHUNK_BYTES):
                        file.write(chunk)
                        advance(len(chunk))
        have = part.stat().st_size
        if have < size_bytes:
            raise _TransientError(f"{url} broke off after {have} of {size_bytes} bytes")
        if not _is_right(part, size_bytes, md5):
            part.unlink()
            advance(-have)
            expected = f"{size_bytes} bytes with MD5 {md5}" if md5 else f"{size_bytes} bytes"
            raise _TransientError(f"{url} came damaged: expected {expected}, got {have} bytes")

    @contextmanager
    def _get(
        self, url: str, *, method: str = "GET", **arguments: Any
    ) -> Iterator[requests.Response]:
        """Yields a good answer; turns bad ones and broken lines into our errors."""
        # Compressed transfer would make sizes and ranges mean something else.
        headers = {"Accept-Encoding": "identity"} | arguments.pop("headers", {})
        try:
            with self.session.request(
                method, url, timeout=self.timeout_s, stream=True, headers=headers, **arguments
            ) as response:
                _check_status(response, url)
                yield response
        except (
            requests.ConnectionError,
            requests.Timeout,
            requests.exceptions.ChunkedEncodingError,
        ) as error:
            raise _TransientError(f"cannot reach {url}: {_reason(error)}") from error
        except requests.RequestException as error:
            raise ServerError(f"cannot fetch {url}: {error}") from error

    def _persist(self, url: str, attempt: Callable[[], Any]) -> Any:
        """Returns what `attempt` returns, trying again after transient failures."""
        wait_s = self.first_wait_s
        for left in range(self.attempts - 1, -1, -1):
            try:
                return attempt()
            except _TransientError as error:
                if not left:
                    raise ServerError(
                        f"{error}; gave up after {self.attempts} attempts. What came is kept: "
                        "run the same command again to continue"
                    ) from error
                time.sleep(min(wait_s if error.wait_s is None else error.wait_s, _LONGEST_WAIT_S))
                wait_s *= 2
        raise ServerError(f"no attempt was allowed for {url}")


def md5_of_base64(text: str | None) -> str | None:
    """Returns the hexadecimal form of a base64 MD5, as Google's listings give it."""
    return base64.b64decode(text).hex() if text else None


def _check_status(response: requests.Response, url: str) -> None:
    status = response.status_code
    if status in (200, 206):
        return
    if status == 404:
        raise NotFoundError(f"{url} does not exist on the server (404)")
    if status in _TRY_AGAIN:
        asked = response.headers.get("Retry-After", "")
        raise _TransientError(
            f"{url} answered {status} {response.reason}", float(asked) if asked.isdigit() else None
        )
    raise ServerError(f"{url} answered {status} {response.reason}; expected 200")


def _is_right(path: Path, size_bytes: int, md5: str | None) -> bool:
    if path.stat().st_size != size_bytes:
        return False
    if md5 is None:
        return True
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest() == md5


def _reason(error: Exception) -> str:
    text = str(error)
    return text if len(text) < 160 else f"{type(error).__name__}"
