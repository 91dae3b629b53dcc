// Tiles of the map viewer: read as texts from the page or from scripts beside it, and coloured here
// so that classes can be switched off.
const landcoverTiles = (() => {
  "use strict";
  const DATA = JSON.parse(document.getElementById("viewer-data").textContent);
  const { pyramid, classes, nodata } = DATA;
  const embedded = DATA.tiles;
  const size = pyramid.tile;
  const byCode = new Map(classes.map((c) => [c.code, c]));
  const hidden = new Set();
  // Texts of script tiles, the last used last; a full-size map has too many to keep all.
  const kept = new Map();
  const KEPT_TILES = 256;
  const waiting = new Map();

  window.landcoverTile = (name, tile) => {
    waiting.get(name)?.(tile);
    waiting.delete(name);
  };

  function tileText(name) {
    if (embedded) return Promise.resolve(embedded[name]);
    let text = kept.get(name);
    kept.delete(name);
    if (!text) {
      text = new Promise((resolve, reject) => {
        waiting.set(name, resolve);
        const script = document.createElement("script");
        script.src = `${encodeURIComponent(pyramid.folder)}/${name}.js`;
        script.onload = () => script.remove();
        script.onerror = () => {
          document.getElementById("viewer-missing").hidden = false;
          kept.delete(name);
          reject(new Error(`tile ${name} is missing`));
        };
        document.head.append(script);
      });
    }
    kept.set(name, text);
    if (kept.size > KEPT_TILES) kept.delete(kept.keys().next().value);
    return text;
  }

  function pixels(url) {
    return new Promise((resolve, reject) => {
      const image = new Image();
      image.onload = () => {
        const canvas = document.createElement("canvas");
        canvas.width = image.width;
        canvas.height = image.height;
        // Values must come back as written, so no colour management on the way.
        const context = canvas.getContext("2d", { willReadFrequently: true, colorSpace: "srgb" });
        context.drawImage(image, 0, 0);
        resolve({ canvas, context, data: context.getImageData(0, 0, image.width, image.height) });
      };
      image.onerror = reject;
      image.src = url;
    });
  }

  const viridis = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];
  function ramp(value) {
    const x = (value / 255) * (viridis.length - 1);
    const i = Math.min(Math.floor(x), viridis.length - 2);
    return viridis[i].map((c, k) => Math.round(c + (viridis[i + 1][k] - c) * (x - i)));
  }
  function classColour(code) {
    if (code === nodata || hidden.has(code)) return [0, 0, 0, 0];
    const known = byCode.get(code);
    return known ? [...known.rgb, 255] : [255, 0, 255, 255];
  }
  const painters = {
    map: (v, o) => classColour(v[o]),
    reference: (v, o) => classColour(v[o + 2]),
    confidence: (v, o) => (v[o] === nodata || !v[o + 1] ? [0, 0, 0, 0] : [...ramp(v[o + 1]), 255]),
  };

  async function paint(kind, name) {
    const tile = await tileText(name);
    if (!tile) return "";
    if (kind === "image") return tile.image;
    const { canvas, context, data } = await pixels(tile.values);
    const values = data.data.slice();
    for (let o = 0; o < values.length; o += 4) data.data.set(painters[kind](values, o), o);
    context.putImageData(data, 0, 0);
    return canvas.toDataURL();
  }

  return { pyramid, classes, nodata, byCode, hidden, viridis, tileText, pixels, paint };
})();
