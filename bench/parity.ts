// One version, every runtime, the same 64 pictures: how many captions agree token by token.
//
//   python bench/parity.py --version models/scenes-base --out .data/parity
//   node bench/parity.ts --pictures .data/parity --version models/scenes-base [--url http://127.0.0.1:8787 --key KEY --model scenes]
//
// With --url the running service (onnxruntime-web in workerd) captions them too and its texts are compared.
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { createCaptioner } from "../captioner/index.ts";
import { Manifest, parseJson } from "../captioner/manifest.ts";
import { createNodeRuntime } from "../captioner/runtime-node.ts";

interface Expected {
  file: string;
  tokens: Record<string, number[]>;
}

const { values: options } = parseArgs({
  options: {
    pictures: { type: "string", default: ".data/parity" },
    version: { type: "string", default: "models/scenes-base" },
    url: { type: "string" },
    key: { type: "string", default: "" },
    model: { type: "string", default: "scenes" },
  },
});

const expected = JSON.parse(await readFile(join(options.pictures, "expected.json"), "utf8")) as Expected[];
const bytes = await readFile(join(options.version, "manifest.json"));
const version = {
  manifest: parseJson(new Uint8Array(bytes).buffer, Manifest, "manifest.json"),
  manifestSha256: createHash("sha256").update(bytes).digest("hex"),
  read: async (path: string) => new Uint8Array(await readFile(join(options.version, path))).buffer,
};
const runtime = await createNodeRuntime();
const tokens: Record<string, number[][]> = {};
const texts: Record<string, string[]> = {};
for (const name of Object.keys(expected[0]!.tokens)) tokens[name] = expected.map((item) => item.tokens[name]!);
for (const precision of ["fp32", "int8"] as const) {
  const captioner = createCaptioner({ runtime, memoryBudgetBytes: 200_000_000, precision });
  const name = `node_${precision}`;
  tokens[name] = [];
  texts[name] = [];
  for (const { file } of expected) {
    const result = await captioner.caption(await readFile(join(options.pictures, file)), version);
    const best = result.candidates[0]!;
    tokens[name].push(best.finished ? best.tokens.slice(0, -1) : best.tokens);
    texts[name].push(best.caption);
  }
}
const reference = tokens["pytorch"] ? "pytorch" : "onnx_fp32";
console.log(`${expected.length} pictures, tokens as in ${reference}`);
for (const [name, found] of Object.entries(tokens)) {
  const equal = found.filter((ids, index) => String(ids) === String(tokens[reference]![index])).length;
  console.log(`${name.padEnd(16)} ${String(equal).padStart(3)} of ${expected.length}`);
}
if (options.url) {
  let equal = 0;
  for (const [index, { file }] of expected.entries()) {
    const response = await fetch(`${options.url}/v1/captions?model=${options.model}`, {
      method: "POST",
      headers: { authorization: `Bearer ${options.key}`, "content-type": "image/png" },
      body: await readFile(join(options.pictures, file)),
    });
    if (!response.ok) throw new Error(`${response.status} ${await response.text()}`);
    const { caption } = (await response.json()) as { caption: string };
    if (caption === texts["node_fp32"]![index]) equal++;
  }
  console.log(`${"workerd_fp32".padEnd(16)} ${String(equal).padStart(3)} of ${expected.length} (text as in node_fp32)`);
}
