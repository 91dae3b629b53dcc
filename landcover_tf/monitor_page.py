"""The page of `landcover monitor`: one file, no network, no script."""

from collections.abc import Mapping
from typing import Any

from landcover_tf.accuracy.drift import Drift
from landcover_tf.legend import Legend
from landcover_tf.visuals.html_pages import render


def page(result: Mapping[str, Any], drift: Drift, legend: Legend) -> str:
    """Returns the page as HTML.

    Args:
        result: What `monitor.json` holds.
        drift: The differences.
        legend: Names and colours of the classes.
    """
    classes = {one.code: one for one in legend.classes}
    return render(
        "landcover_tf",
        "monitor.html.jinja",
        result=result,
        drift=drift,
        limit=result["config"]["max_stability_index"],
        scaled=lambda band, share: share / max(*band.expected, *band.observed),
        color=lambda code: classes[code].color if code in classes else "#ffffff",
        name=lambda code: classes[code].name if code in classes else "(not in the legend)",
    )
