// The README's table: the demonstration for each taste and seed against a running service.
//
//   npm start                                  (in another terminal)
//   npx node bench/demo-table.ts --tastes there,brief --seeds 3 [--folder .data/demo-table]
//
// A run whose JSON is in the folder already is not run again.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import type { Change, Figures } from "../scripts/demo/report.ts";

type Run = Figures & { job: { status: string }; seconds: { thumbs_to_served: number } };

const { values: options } = parseArgs({
  options: {
    tastes: { type: "string", default: "there,brief" },
    seeds: { type: "string", default: "3" },
    folder: { type: "string", default: ".data/demo-table" },
  },
});
mkdirSync(options.folder, { recursive: true });

function demonstrate(taste: string, seed: number): Run {
  const file = join(options.folder, `${taste}-${seed}.json`);
  if (!existsSync(file)) {
    const args = ["scripts/demo.ts", "--taste", taste, "--seed", String(seed), "--json", file];
    const { status } = spawnSync(process.execPath, args, { stdio: "inherit" });
    if (status !== 0) throw new Error(`the demonstration of ${taste}, seed ${seed}, failed`);
  }
  return JSON.parse(readFileSync(file, "utf8")) as Run;
}

const percent = ({ before, after }: Change): string => `${(100 * before).toFixed(1)} → ${(100 * after).toFixed(1)} %`;
const plain = ({ before, after }: Change): string => `${before.toFixed(2)} → ${after.toFixed(2)}`;

const columns =
  "taste|seed|approval|facts wrong|grammatical|left out per caption|words|job|200 thumbs to served version";
const rows = [columns, columns.replaceAll(/[^|]+/g, "---")];
for (const taste of options.tastes.split(",")) {
  const gains: number[] = [];
  for (let seed = 1; seed <= Number(options.seeds); seed++) {
    const run = demonstrate(taste, seed);
    gains.push(100 * (run.approval.after - run.approval.before));
    const shares = [run.approval, run.facts_wrong, run.grammatical].map(percent);
    const means = [run.left_out_per_caption, run.words_per_caption].map(plain);
    const seconds = `${run.seconds.thumbs_to_served.toFixed(0)} s`;
    rows.push([taste, seed, ...shares, ...means, run.job.status, seconds].join("|"));
  }
  const mean = gains.reduce((sum, gain) => sum + gain, 0) / gains.length;
  const variance = gains.reduce((sum, gain) => sum + (gain - mean) ** 2, 0) / Math.max(gains.length - 1, 1);
  rows.push(`**${taste}**|mean|**+${mean.toFixed(1)} points** (sd ${Math.sqrt(variance).toFixed(1)})||||||`);
}
console.log(rows.map((row) => `| ${row.replaceAll("|", " | ")} |`).join("\n"));
