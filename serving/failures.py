"""Inputs of a command that failed, beside those that get their maps."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from landcover_tf.errors import ProductError, RasterError


@dataclass(frozen=True, kw_only=True)
class Failures:
    """Inputs that cannot be read, which do not keep the others from their maps."""

    total: int
    """Inputs of the command; the only one's error ends it."""
    told: list[str] = field(default_factory=list)

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Tells and keeps the error of an input."""
        try:
            yield
        except (ProductError, RasterError) as error:
            if self.total == 1:
                raise
            print(f"failed: {error}", file=sys.stderr)
            self.told.append(str(error))

    def report(self) -> None:
        """Ends the program if an input failed.

        Raises:
            RasterError: How many failed.
        """
        if self.told:
            raise RasterError(
                f"{len(self.told)} of {self.total} inputs failed, see above; the same command "
                f"tries them again. The first: {self.told[0]}"
            )
