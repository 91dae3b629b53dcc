"""Pages of one HTML file that needs no network: their templates, and the pictures inside them."""

import base64
import io
from importlib import resources
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from landcover_tf.visuals.figures import figure_png

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def render(package: str, template: str, **values: Any) -> str:
    """Returns a page; what is put in is escaped, and a name without value is an error.

    Args:
        package: Package that holds the template.
        template: Its path inside the package.
        values: What the template names.
    """
    import jinja2

    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(packaged_text(package, template)).render(values)


def packaged_text(package: str, name: str) -> str:
    """Returns a text file of a package, whatever the locale."""
    return resources.files(package).joinpath(name).read_text(encoding="utf-8")


def data_url(content: bytes, kind: Literal["png", "jpeg"] = "png") -> str:
    """Returns the bytes of a picture's file as the address of an embedded picture."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def picture_url(picture: np.ndarray, kind: Literal["png", "jpeg"] = "png") -> str:
    """Returns an embedded picture without a date, so that equal pictures are equal.

    Args:
        picture: Grey or colours, uint8 [height, width] or [height, width, 3].
        kind: JPEG is smaller and loses details.
    """
    from PIL import Image

    options: dict[str, Any] = {"quality": 82} if kind == "jpeg" else {"compress_level": 5}
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, kind, **options)
    return data_url(buffer.getvalue(), kind)


def figure_url(figure: "Figure") -> str:
    """Returns a matplotlib figure as an embedded picture."""
    return data_url(figure_png(figure, drawn_in="the page"))
