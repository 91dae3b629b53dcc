"""QGIS styles (.qml), which QGIS finds beside a layer by its name; tried in QGIS 3.22."""

from collections.abc import Iterable
from xml.sax.saxutils import quoteattr

from landcover_tf.legend import LandCoverClass, Legend

# Shows a picture (1) whose path is relative to a root (2), which is the folder of the layer's file;
# relative to the project (1), an unsaved project would show none.
_PICTURE_WIDGET = """<Option type="Map">
        <Option name="DocumentViewer" type="int" value="1"/>
        <Option name="RelativeStorage" type="int" value="2"/>
        <Option name="PropertyCollection" type="Map">
          <Option name="name" type="QString" value=""/>
          <Option name="properties" type="Map">
            <Option name="propertyRootPath" type="Map">
              <Option name="active" type="bool" value="true"/>
              <Option name="expression" type="QString"
                value="file_path(layer_property(@layer, 'path'))"/>
              <Option name="type" type="int" value="3"/>
            </Option>
          </Option>
          <Option name="type" type="QString" value="collection"/>
        </Option>
      </Option>"""


def raster_style(classes: Iterable[LandCoverClass]) -> str:
    """Returns the style of a raster of class codes: their colours and names."""
    entries = "\n".join(
        f'        <paletteEntry value="{c.code}" color="{c.color}" alpha="255" '
        f"label={quoteattr(c.name)}/>"
        for c in classes
    )
    return f"""<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>
<qgis version="3.22" styleCategories="AllStyleCategories">
  <pipe>
    <rasterrenderer type="paletted" band="1" opacity="1" alphaBand="-1" nodataColor="">
      <colorPalette>
{entries}
      </colorPalette>
    </rasterrenderer>
  </pipe>
  <blendMode>0</blendMode>
</qgis>
"""


def point_style(legend: Legend) -> str:
    """Returns a QGIS style for labelling.

    Points are coloured by the class given so far and hollow while there is none; the form
    offers the legend's classes by name, shows the picture and hides the stratum, because an
    interpreter who sees the map's class tends to agree with it.
    """
    symbols, categories = [_symbol(0, "255,255,255,60", "230,0,120,255")], []
    for number, land_cover in enumerate(legend.classes, 1):
        red, green, blue = land_cover.rgb
        symbols.append(_symbol(number, f"{red},{green},{blue},255", "20,20,20,255"))
        categories.append(
            f'      <category render="true" type="long" value="{land_cover.code}" '
            f'symbol="{number}" label={quoteattr(land_cover.name)}/>'
        )
    # The category with an empty value takes all points that no other takes.
    categories.append(
        '      <category render="true" value="" symbol="0" label="not labelled yet" type="string"/>'
    )
    choices = "".join(
        f'<Option type="Map"><Option name={quoteattr(c.name)} type="QString" value="{c.code}"/>'
        "</Option>"
        for c in legend.classes
    )
    fields = "".join(
        f'    <field name="{name}"><editWidget type="{kind}">'
        f"<config>{options}</config></editWidget></field>\n"
        for name, kind, options in (
            ("fid", "Hidden", ""),
            ("stratum", "Hidden", ""),
            (
                "reference",
                "ValueMap",
                f'<Option type="Map"><Option name="map" type="List">{choices}</Option></Option>',
            ),
            ("sure", "CheckBox", ""),
            ("picture", "ExternalResource", _PICTURE_WIDGET),
        )
    )
    lines = "\n".join(categories)
    return f"""<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>
<qgis version="3.22" styleCategories="Symbology|Labeling|Fields|Forms" labelsEnabled="0">
  <renderer-v2 type="categorizedSymbol" attr="reference" symbollevels="0" enableorderby="0">
    <categories>
{lines}
    </categories>
    <symbols>
{"".join(symbols)}    </symbols>
  </renderer-v2>
  <fieldConfiguration>
{fields}  </fieldConfiguration>
</qgis>
"""


def _symbol(number: int, fill: str, outline: str) -> str:
    options = "".join(
        f'<Option name="{name}" type="QString" value="{value}"/>'
        for name, value in (
            ("name", "circle"),
            ("color", fill),
            ("outline_color", outline),
            ("outline_width", "0.4"),
            ("size", "3"),
        )
    )
    return (
        f'      <symbol type="marker" name="{number}" alpha="1" clip_to_extent="1">'
        f'<layer class="SimpleMarker" enabled="1" locked="0" pass="0">'
        f'<Option type="Map">{options}</Option></layer></symbol>\n'
    )
