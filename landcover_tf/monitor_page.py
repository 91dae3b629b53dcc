"""The page of `landcover monitor`: one file, no network, no script."""

from collections.abc import Mapping
from typing import Any

import jinja2

from landcover_tf.accuracy.drift import Drift
from landcover_tf.legend import Legend

TEMPLATE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Served data and training data</title>
<style>
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
       color: #1a1a1a; background: #fff }
table { border-collapse: collapse; width: 100%; margin: 1rem 0 }
th, td { text-align: right; padding: .3rem .6rem; border-bottom: 1px solid #ccc }
th:first-child, td:first-child { text-align: left }
.over { font-weight: bold; color: #8c1d04 }
.swatch { display: inline-block; width: .9em; height: .9em; border: 1px solid #666 }
svg { vertical-align: middle }
</style>
<h1>Served data and training data</h1>
<p>Maps: {{ result.maps }} ({{ result.windows }} windows) by {{ result.models | join(", ") }},
{{ result["from"] }} to {{ result.to }}, against {{ result.reference }}.</p>
{% for warning in result.warnings %}
<p class="over">Warning: {{ warning }}.</p>
{% endfor %}
{% if result.findings %}
<p class="over">Over the limit:</p>
<ul>{% for finding in result.findings %}<li>{{ finding }}</li>{% endfor %}</ul>
{% else %}
<p>Nothing is over its limit.</p>
{% endif %}
<h2>Bands</h2>
<p>The population stability index compares ten classes that hold a tenth of the training pixels
each (grey); the bars are what was served. Up to 0.1 is usually called stable, above
{{ limit }} another population. Values are as stored.</p>
<table>
<tr><th>band</th><th>stability index</th><th>mean, training</th><th>mean, served</th>
<th>deviation, training</th><th>deviation, served</th><th>outside the training range</th>
<th>distribution</th></tr>
{% for band in drift.bands %}
<tr><td>{{ band.name }}</td>
<td{% if band.stability_index > limit %} class="over"{% endif %}>
{{ "%.3f" | format(band.stability_index) }}</td>
<td>{{ "%.5g" | format(band.expected_mean) }}</td><td>{{ "%.5g" | format(band.observed_mean) }}</td>
<td>{{ "%.4g" | format(band.expected_std) }}</td><td>{{ "%.4g" | format(band.observed_std) }}</td>
<td>{{ "%.1f %%" | format(100 * band.outside_fraction) }}</td>
<td><svg width="110" height="30" role="img"
 aria-label="shares of the ten classes of {{ band.name }}">
{% for share in band.observed %}
<rect x="{{ loop.index0 * 11 }}" width="9" y="{{ 30 - 30 * scaled(band, share) }}"
 height="{{ 30 * scaled(band, share) }}" fill="#1f4e9e"/>
<line x1="{{ loop.index0 * 11 }}" x2="{{ loop.index0 * 11 + 9 }}"
 y1="{{ 30 - 30 * scaled(band, band.expected[loop.index0]) }}"
 y2="{{ 30 - 30 * scaled(band, band.expected[loop.index0]) }}" stroke="#888" stroke-width="2"/>
{% endfor %}</svg></td></tr>
{% endfor %}
</table>
<h2>Classes</h2>
<p>{% if result.class_shift is none %}Class shares are unknown.{% else %}
Class shift {{ "%.3f" | format(result.class_shift) }}: half the sum of the absolute
differences.{% endif %} The training labels need not have the shares of the area that is mapped.</p>
<table>
<tr><th>class</th><th>training</th><th>served</th><th>difference</th></tr>
{% for code, shares in drift.class_fractions.items() %}
<tr><td><span class="swatch" style="background: {{ color(code) }}"></span>
{{ code }} {{ name(code) }}</td>
<td>{{ "%.1f %%" | format(100 * shares[0]) }}</td><td>{{ "%.1f %%" | format(100 * shares[1]) }}</td>
<td>{{ "%+.1f" | format(100 * (shares[1] - shares[0])) }}</td></tr>
{% endfor %}
</table>
</html>
"""


def page(result: Mapping[str, Any], drift: Drift, legend: Legend) -> str:
    """Returns the page as HTML.

    Args:
        result: What `monitor.json` holds.
        drift: The differences.
        legend: Names and colours of the classes.
    """
    classes = {one.code: one for one in legend.classes}
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(TEMPLATE).render(
        result=result,
        drift=drift,
        limit=result["config"]["max_stability_index"],
        scaled=lambda band, share: share / max(*band.expected, *band.observed),
        color=lambda code: classes[code].color if code in classes else "#ffffff",
        name=lambda code: classes[code].name if code in classes else "(not in the legend)",
    )
