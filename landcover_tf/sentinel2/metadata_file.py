"""XML metadata of a product, looked up by element name."""

import math
from datetime import UTC, datetime
from typing import Any

from landcover_tf.errors import ProductError
from landcover_tf.sentinel2.container import Container


class MetadataFile:
    """One metadata file; every look-up names the file when it fails.

    Root elements carry a namespace whose version changes, their children none, so elements are
    found by plain name anywhere below the root.
    """

    def __init__(self, container: Container, name: str) -> None:
        self.root = container.xml(name)
        self.where = f"{name} in {container.path}"

    def text(self, path: str) -> str:
        """Returns the text of the first element at `path`.

        Raises:
            ProductError: There is none, or it is empty.
        """
        text = self.optional_text(path)
        if not text:
            raise ProductError(f"{self.where} lacks {path}; download the product again")
        return text

    def optional_text(self, path: str) -> str | None:
        """Returns the text of the first element at `path`, or None if there is no such element."""
        element = self.root.find(f".//{path}")
        return None if element is None else (element.text or "").strip()

    def number(self, path: str) -> float:
        """Returns the number at `path`."""
        return self.to_number(self.text(path), path)

    def optional_number(self, path: str) -> float | None:
        """Returns the number at `path`, or None if there is no such element or it is empty."""
        text = self.optional_text(path)
        return self.to_number(text, path) if text else None

    def to_number(self, text: str, path: str) -> float:
        """Returns `text` as a number; `path` is for the message."""
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise ProductError(f"{self.where}: {path} must be a number, got {text!r}")
        return number

    def time(self, path: str) -> datetime:
        """Returns the time at `path` in UTC."""
        text = self.text(path)
        try:
            parsed = datetime.fromisoformat(text)
        except ValueError:
            raise ProductError(f"{self.where}: {path} must be a time, got {text!r}") from None
        return parsed.astimezone(UTC) if parsed.tzinfo else parsed.replace(tzinfo=UTC)

    def elements(self, path: str) -> list[Any]:
        """Returns all elements at `path`."""
        return list(self.root.findall(f".//{path}"))
