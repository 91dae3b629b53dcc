// The map viewer: layers, swipe, classes and the pixel inspector.
(() => {
  "use strict";
  const { pyramid, classes, nodata, byCode, hidden, viridis, tileText, pixels, paint } = landcoverTiles;
  const size = pyramid.tile;

  const extent = [0, -pyramid.height, pyramid.width, 0];
  const projection = new ol.proj.Projection({
    code: "PIXEL",
    units: "pixels",
    extent,
    metersPerUnit: pyramid.pixel_m || undefined,
    getPointResolution: (resolution) => resolution,
  });
  const resolutions = Array.from({ length: pyramid.levels }, (_, z) => 2 ** (pyramid.levels - 1 - z));
  const tileGrid = new ol.tilegrid.TileGrid({ extent, origin: [0, 0], resolutions, tileSize: size });

  function makeLayer(kind, visible) {
    const source = new ol.source.TileImage({
      projection,
      tileGrid,
      interpolate: kind === "image",
      transition: 0,
      tileUrlFunction: ([z, x, y]) => `${z}/${y}/${x}`,
      tileLoadFunction: (tile, name) => {
        paint(kind, name).then(
          (url) => { tile.getImage().src = url || "data:,"; },
          () => tile.setState(3),
        );
      },
    });
    // OpenLayers 10.11 takes a first revision of 0 for none and would not draw the first refresh.
    source.changed();
    return new ol.layer.Tile({ source, visible, extent, properties: { kind } });
  }

  const kinds = [["image", "Image"], ["reference", "Reference"], ["confidence", "Confidence"], ["map", "Map"]]
    .filter(([kind]) => kind === "map" || pyramid[kind]);
  const layers = Object.fromEntries(
    kinds.map(([kind]) => [kind, makeLayer(kind, kind === "map" || kind === "image")]),
  );
  const view = new ol.View({
    projection,
    extent: [-pyramid.width * 0.25, -pyramid.height * 1.25, pyramid.width * 1.25, pyramid.height * 0.25],
    center: [pyramid.width / 2, -pyramid.height / 2],
    resolutions: [...resolutions, 0.5, 0.25, 0.125],
    constrainResolution: false,
  });
  const marked = new ol.source.Vector();
  const outline = (color, width) => new ol.style.Style({ stroke: new ol.style.Stroke({ color, width }) });
  const marker = new ol.layer.Vector({ source: marked, zIndex: 99, style: [outline("#fff", 5), outline("#e6007e", 2.5)] });
  // The wheel scrolls the page, unless someone works with the map or holds Ctrl.
  const target = document.getElementById("viewer-map");
  const hint = document.getElementById("viewer-hint");
  let hintTimer = 0;
  function wheelZooms({ type, originalEvent }) {
    if (type !== "wheel") return false; // OpenLayers asks at every event.
    if (originalEvent.ctrlKey || originalEvent.metaKey || target.contains(document.activeElement)) return true;
    hint.hidden = false;
    clearTimeout(hintTimer);
    hintTimer = setTimeout(() => { hint.hidden = true; }, 1500);
    return false;
  }
  const map = new ol.Map({
    target,
    interactions: ol.interaction.defaults
      .defaults({ mouseWheelZoom: false })
      .extend([new ol.interaction.MouseWheelZoom({ condition: wheelZooms })]),
    layers: [...kinds.map(([kind]) => layers[kind]), marker],
    view,
    controls: ol.control.defaults.defaults({ attribution: false, rotate: false }),
  });
  if (pyramid.pixel_m) map.addControl(new ol.control.ScaleLine({ minWidth: 90 }));
  const fit = () => view.fit(extent, { padding: [8, 8, 8, 8] });
  fit();

  // From the bottom: the image, then what was ticked, the last one on top, then the swiped layer.
  const boxes = {};
  const ticked = [];
  let borrowed = "";
  function stack() {
    ["image", ...ticked, swipeKind.value].forEach((kind, i) => layers[kind]?.setZIndex(i));
  }
  function show(kind, visible) {
    layers[kind].setVisible(visible);
    boxes[kind].checked = visible;
    if (ticked.includes(kind)) ticked.splice(ticked.indexOf(kind), 1);
    if (visible && kind !== "image") ticked.push(kind);
  }
  // A layer that only the swipe shows goes when the swipe does.
  function swipeOver(kind) {
    if (borrowed) show(borrowed, false);
    borrowed = kind && !layers[kind].getVisible() ? kind : "";
    if (borrowed) show(kind, true);
    swipeKind.value = kind;
    stack();
    redraw();
  }

  // Swipe: the chosen layer is drawn only left of the handle.
  const swipe = document.getElementById("viewer-swipe");
  const swipeKind = document.getElementById("viewer-swipe-layer");
  for (const [kind, layer] of Object.entries(layers)) {
    layer.on("prerender", ({ context }) => {
      if (swipeKind.value !== kind) return;
      const width = context.canvas.width * (swipe.value / 100);
      context.save();
      context.beginPath();
      context.rect(0, 0, width, context.canvas.height);
      context.clip();
    });
    layer.on("postrender", ({ context }) => {
      if (swipeKind.value === kind) context.restore();
    });
  }
  const handle = document.createElement("div");
  handle.className = "swipe-handle";
  target.append(handle);
  const redraw = () => {
    handle.hidden = swipe.disabled = !swipeKind.value;
    handle.style.left = `${swipe.value}%`;
    map.render();
  };
  swipe.addEventListener("input", redraw);
  swipeKind.addEventListener("change", () => swipeOver(swipeKind.value));
  handle.addEventListener("pointerdown", (event) => {
    handle.setPointerCapture(event.pointerId);
    event.preventDefault();
  });
  handle.addEventListener("pointermove", (event) => {
    if (!handle.hasPointerCapture(event.pointerId)) return;
    const { left, width } = target.getBoundingClientRect();
    swipe.value = (100 * (event.clientX - left)) / width;
    redraw();
  });
  redraw();

  const panel = document.getElementById("viewer-layers");
  for (const [kind, title] of [...kinds].reverse()) {
    const row = document.createElement("div");
    row.className = "layer-row";
    row.innerHTML =
      `<label><input type="checkbox" data-layer="${kind}"> ${title}</label>` +
      `<input type="range" min="0" max="100" value="100" data-opacity="${kind}" aria-label="Opacity of ${title}">`;
    const [box, range] = row.querySelectorAll("input");
    boxes[kind] = box;
    show(kind, layers[kind].getVisible());
    box.addEventListener("change", () => {
      if (borrowed === kind) borrowed = "";
      show(kind, box.checked);
      if (!box.checked && swipeKind.value === kind) swipeOver("");
      stack();
    });
    range.addEventListener("input", () => layers[kind].setOpacity(range.value / 100));
    panel.append(row);
    if (kind === "confidence") {
      const scale = document.createElement("div");
      scale.className = "ramp";
      scale.style.background = `linear-gradient(to right, ${viridis.map((c) => `rgb(${c})`)})`;
      scale.innerHTML = "<span>0</span><span>1</span>";
      panel.append(scale);
    }
    swipeKind.append(new Option(title, kind));
  }
  stack();

  const list = document.getElementById("viewer-classes");
  const percent = (x) => (100 * x).toFixed(x < 0.1 ? 1 : 0) + " %";
  const decimal = (x, digits) => x.toLocaleString("en", { maximumFractionDigits: digits });
  // Without a decimal, a class of less than half a hectare would have none.
  const area = ({ area_ha: ha, pixels }) => (ha === null ? `${decimal(pixels, 0)} px` : `${decimal(ha, ha < 10 ? 1 : 0)} ha`);
  for (const c of classes) {
    const row = document.createElement("label");
    row.className = "class-row";
    row.innerHTML =
      `<input type="checkbox" checked data-class="${c.code}"><span class="chip" style="background:${c.color}"></span>` +
      `<span class="class-name"></span><span class="class-area"></span>`;
    row.querySelector(".class-name").textContent = `${c.code} ${c.name}`;
    row.querySelector(".class-area").textContent = `${area(c)} · ${percent(c.fraction)}`;
    row.querySelector("input").addEventListener("change", (event) => {
      event.target.checked ? hidden.delete(c.code) : hidden.add(c.code);
      recolour();
    });
    list.append(row);
  }
  function recolour() {
    for (const kind of ["map", "reference"]) if (layers[kind]) layers[kind].getSource().refresh();
  }
  for (const [id, checked] of [["viewer-all", true], ["viewer-none", false]]) {
    document.getElementById(id).addEventListener("click", () => {
      for (const box of list.querySelectorAll("input")) box.checked = checked;
      for (const c of classes) checked ? hidden.delete(c.code) : hidden.add(c.code);
      recolour();
    });
  }

  const inspector = document.getElementById("viewer-inspector");
  const className = (code) => (code === nodata ? "no data" : byCode.has(code) ? byCode.get(code).name : "unknown class");

  // Tiles load in any order, and only the pixel that was asked for last is shown.
  let inspections = 0;
  async function inspect(coordinate) {
    const turn = ++inspections;
    const overtaken = () => turn !== inspections;
    try {
      await inspectPixel(coordinate, overtaken);
    } catch {
      if (!overtaken()) inspector.textContent = "This pixel's tile is missing.";
    }
  }

  async function inspectPixel(coordinate, overtaken) {
    const col = Math.floor(coordinate[0]);
    const row = Math.floor(-coordinate[1]);
    marked.clear();
    if (row < 0 || col < 0 || row >= pyramid.height || col >= pyramid.width) {
      inspector.textContent = "Outside the map.";
      return;
    }
    marked.addFeature(new ol.Feature(ol.geom.Polygon.fromExtent([col, -row - 1, col + 1, -row])));
    const name = `${pyramid.levels - 1}/${Math.floor(row / size)}/${Math.floor(col / size)}`;
    const tile = await tileText(name);
    if (overtaken()) return;
    const { data } = await pixels(tile.values);
    if (overtaken()) return;
    const [r, c] = [row % size, col % size];
    const [code, confidence, reference] = data.data.slice(4 * (r * size + c), 4 * (r * size + c) + 3);
    const [a, b, c0, d, e, f0] = pyramid.transform;
    const x = a * (col + 0.5) + b * (row + 0.5) + c0;
    const y = d * (col + 0.5) + e * (row + 0.5) + f0;
    // Degrees need more digits than metres: a tenth of a pixel.
    const digits = Math.max(1, Math.ceil(-Math.log10(Math.hypot(a, d) / 10)));
    const lines = [
      ["Pixel", `row ${row}, column ${col}`],
      [pyramid.crs || "Position", `${x.toFixed(digits)}, ${y.toFixed(digits)}`],
      ["Map", `${code} ${className(code)}`],
    ];
    // Where the raster has none, its tiles have 0. It may be of another class than the map's.
    const sure = [percent(confidence / 255), pyramid.confidence_of].filter(Boolean).join(", ");
    if (confidence && code !== nodata) lines.push(["Confidence", sure]);
    if (pyramid.reference) lines.push(["Reference", `${reference} ${className(reference)}`]);
    const table = document.createElement("dl");
    for (const [key, value] of lines) {
      const [dt, dd] = [document.createElement("dt"), document.createElement("dd")];
      dt.textContent = key;
      dd.textContent = value;
      table.append(dt, dd);
    }
    const values = tile.probabilities && code !== nodata ? await probabilities(tile.probabilities, r, c) : [];
    if (overtaken()) return;
    inspector.replaceChildren(table, ...(values.some(Boolean) ? [bars(values)] : []));
    Object.assign(inspector.dataset, { row, col, code, probabilities: values.join(",") });
  }

  async function probabilities(url, row, col) {
    const { data } = await pixels(url);
    return classes.slice(0, pyramid.probabilities).map((_, k) => data.data[4 * ((k * size + row) * size + col)]);
  }

  function bars(values) {
    const box = document.createElement("div");
    box.className = "bars";
    values.forEach((value, k) => {
      const c = classes[k];
      const line = document.createElement("div");
      line.innerHTML = `<span></span><span class="bar"><i style="width:${(100 * value) / 255}%;background:${c.color}"></i></span><b></b>`;
      line.querySelector("span").textContent = c.name;
      line.querySelector("b").textContent = percent(value / 255);
      box.append(line);
    });
    return box;
  }

  const narrow = window.matchMedia("(max-width: 820px)");
  map.on("singleclick", async (event) => {
    await inspect(event.coordinate);
    // On a narrow page the answer stands under the map, which may fill the screen.
    if (narrow.matches) inspector.closest("fieldset").scrollIntoView({ block: "nearest" });
  });
  const inspectCentre = () => inspect(view.getCenter());
  document.getElementById("viewer-centre").addEventListener("click", inspectCentre);
  document.getElementById("viewer-reset").addEventListener("click", fit);
  target.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && event.target === target) inspectCentre();
  });
  // For tests and for the console.
  window.landcoverViewer = { map, layers, inspect, view };
})();
