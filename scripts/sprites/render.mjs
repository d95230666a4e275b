/**
 * Renders the sprite sheets of the built-in domain: one WebP per art style, a 96-pixel cell per
 * kind in the order of kinds.json, each drawing trimmed to its outline and standing on the cell's
 * lower edge.
 *
 *   cd scripts/sprites && npm ci && npm run render
 */
import { readFile, writeFile, mkdir } from "node:fs/promises";
import { createRequire } from "node:module";
import { Resvg } from "@resvg/resvg-js";
import sharp from "sharp";

const CELL = 96;
const MARGIN = 2;
const COLUMNS = 20;
/** Rendered larger than needed, so that trimming and scaling down keep the edges smooth. */
const RENDER = 256;

/** Sheet name to icon set; "noto" is never trained on. */
const STYLES = {
  fluent: "fluent-emoji",
  "fluent-flat": "fluent-emoji-flat",
  twemoji: "twemoji",
  emojione: "emojione",
  noto: "noto",
};

/** Kinds that some sets draw on a strip of water, which would look odd on a beach or a road. */
const BOATS = ["sailboat", "ship", "canoe", "speedboat"];
const AFLOAT = {
  fluent: new Set(BOATS),
  "fluent-flat": new Set(BOATS),
  twemoji: new Set(BOATS),
  emojione: new Set([...BOATS, "duck", "dolphin"]),
  noto: new Set(),
};

const require = createRequire(import.meta.url);
const scenes = new URL("../../gpu-workers/scenes/", import.meta.url);
const kinds = JSON.parse(await readFile(new URL("kinds.json", scenes), "utf8"));

/** The icon's drawing as a standalone SVG, or null where the set has no such icon. */
function iconSvg(set, name) {
  const icon = set.icons[name] ?? set.icons[set.aliases?.[name]?.parent];
  if (!icon) return null;
  const width = icon.width ?? set.width ?? 16;
  const height = icon.height ?? set.height ?? 16;
  const box = `${icon.left ?? 0} ${icon.top ?? 0} ${width} ${height}`;
  return `<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="${box}">${icon.body}</svg>`;
}

/** Clears the strip of blue along the lower edge of a drawing; what floats above it stays. */
async function withoutWater(png) {
  const { data, info } = await sharp(png).ensureAlpha().raw().toBuffer({ resolveWithObject: true });
  for (let y = Math.floor(info.height * 0.66); y < info.height; y += 1) {
    for (let x = 0; x < info.width; x += 1) {
      const at = (y * info.width + x) * 4;
      const [red, green, blue] = data.subarray(at, at + 3);
      if (blue > red + 30 && blue > green + 5 && green > red) data[at + 3] = 0;
    }
  }
  return sharp(data, { raw: { width: info.width, height: info.height, channels: 4 } })
    .png()
    .toBuffer();
}

/** One kind's cell: trimmed, scaled to fit, centred on the lower edge. */
async function renderCell(svg, afloat) {
  const drawn = new Resvg(svg, { fitTo: { mode: "width", value: RENDER } }).render().asPng();
  const png = afloat ? await withoutWater(drawn) : drawn;
  const inner = CELL - 2 * MARGIN;
  const transparent = { r: 0, g: 0, b: 0, alpha: 0 };
  const trimmed = await sharp(png).trim({ background: transparent, threshold: 1 }).png().toBuffer();
  const { data, info } = await sharp(trimmed)
    .resize(inner, inner, { fit: "inside" })
    .png()
    .toBuffer({ resolveWithObject: true });
  const left = Math.floor((CELL - info.width) / 2);
  return { input: data, left, top: CELL - MARGIN - info.height };
}

await mkdir(new URL("sprites/", scenes), { recursive: true });
const missing = {};
for (const [style, packageName] of Object.entries(STYLES)) {
  const set = require(`@iconify-json/${packageName}/icons.json`);
  missing[style] = [];
  const cells = [];
  for (const [index, { kind, icon }] of kinds.entries()) {
    const svg = iconSvg(set, icon);
    if (!svg) {
      missing[style].push(kind);
      continue;
    }
    const cell = await renderCell(svg, AFLOAT[style].has(kind));
    const column = index % COLUMNS;
    const row = Math.floor(index / COLUMNS);
    cells.push({ ...cell, left: column * CELL + cell.left, top: row * CELL + cell.top });
  }
  const sheet = await sharp({
    create: {
      width: COLUMNS * CELL,
      height: Math.ceil(kinds.length / COLUMNS) * CELL,
      channels: 4,
      background: { r: 0, g: 0, b: 0, alpha: 0 },
    },
  })
    .composite(cells)
    .webp({ quality: 85, alphaQuality: 90, effort: 6, smartSubsample: true })
    .toBuffer();
  await writeFile(new URL(`sprites/${style}.webp`, scenes), sheet);
  console.log(`${style}: ${cells.length} kinds, ${Math.round(sheet.length / 1024)} KiB`);
}
const index = { cell: CELL, columns: COLUMNS, missing };
await writeFile(new URL("sprites/index.json", scenes), `${JSON.stringify(index, null, 2)}\n`);
