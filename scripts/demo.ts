// `npm run demo`: a viewer with a taste rates captions, and the service learns it. HTTP only.
//   --taste NAME  --thumbs 200  --noise 0.1  --seed 1  --held-out 300  --json FILE  --html FILE  --url URL
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { parseArgs } from "node:util";

import { seededRandom } from "../captioner/sampling.ts";
import { Client, type Job } from "./demo/client.ts";
import { count, type Example, gateTable, hallucinatedKinds, html, table } from "./demo/report.ts";
import { drawPictures, judge, type Picture } from "./demo/scenes.ts";

const scopes = ["captions:write", "feedback:write", "jobs:write", "models:read", "models:promote"];
const ended = new Set(["succeeded", "rejected", "failed", "cancelled"]);
// Far apart, so that rated and held-out pictures of no two seeds are the same.
const ratedSeed = 3_000_000_000;
const heldOutSeed = 3_900_000_000;

const { values: options } = parseArgs({
  options: {
    taste: { type: "string", default: "brief" },
    thumbs: { type: "string", default: "200" },
    noise: { type: "string", default: "0.1" },
    seed: { type: "string", default: "1" },
    "held-out": { type: "string", default: "300" },
    json: { type: "string" },
    html: { type: "string", default: ".data/demo-report.html" },
    url: { type: "string", default: "http://127.0.0.1:8787" },
  },
});
const dataDir = process.env["DATA_DIR"] ?? ".data"; // as scripts/serve.ts has it
const seed = Number(options.seed);
const seconds: Record<string, number> = {};

async function timed<T>(name: string, work: () => Promise<T>): Promise<T> {
  const started = performance.now();
  const result = await work();
  seconds[name] = (performance.now() - started) / 1000;
  return result;
}

function showProgress(label: string, done: number, total: number): void {
  const filled = Math.round((24 * done) / Math.max(total, 1));
  const line = `${label.padEnd(28)} [${"#".repeat(filled)}${"-".repeat(24 - filled)}] ${done}/${total}`;
  if (process.stdout.isTTY) process.stdout.write(`\r\x1b[2K${line}${done >= total ? "\n" : ""}`);
  else if (done >= total) console.log(line);
}

/** Whether anything answers; a service that is just coming up says 503 or the like. */
async function isServing(): Promise<boolean> {
  return fetch(`${options.url}/healthz`).then(
    () => true,
    () => false,
  );
}

/** Starts the service unless it is there; the process to end afterwards, if any. */
async function ensureService(): Promise<ChildProcess | undefined> {
  if (await isServing()) return undefined;
  console.log("no service is running: starting one");
  const service = spawn("node", ["scripts/start.mjs"], { stdio: ["ignore", "inherit", "inherit"], detached: true });
  while (!(await hasDemoKey())) {
    if (service.exitCode !== null) throw new Error("the service did not start");
    await wait(500);
  }
  return service;
}

/** The service has published its base once a caption request would work. */
async function hasDemoKey(): Promise<boolean> {
  if (!(await isServing())) return false;
  return readFile(join(dataDir, "demo.json"), "utf8").then(
    () => true,
    () => false,
  );
}

async function adminToken(): Promise<string> {
  const given = process.env["ADMIN_TOKEN"];
  if (given) return given;
  const { admin_token } = JSON.parse(await readFile(join(dataDir, "secrets.json"), "utf8")) as { admin_token: string };
  return admin_token;
}

async function makeTenant(): Promise<Client> {
  const admin = new Client(options.url, await adminToken());
  const tenant = await admin.call<{ id: string }>("POST", "/admin/tenants", {
    name: `Demo: ${options.taste}, seed ${seed}`,
  });
  const { key } = await admin.call<{ key: string }>("POST", `/admin/tenants/${tenant.id}/keys`, {
    name: "demo",
    scopes,
  });
  return new Client(options.url, key);
}

/** @param drawnWith Seed of a picture's caption where it is drawn; undefined where it is the best. */
async function captionAll(
  client: Client,
  label: string,
  pictures: Picture[],
  drawnWith: (index: number) => number | undefined = () => undefined,
) {
  const captions = [];
  for (const [index, picture] of pictures.entries()) {
    captions.push(await client.caption(picture.jpeg, drawnWith(index)));
    showProgress(label, index + 1, pictures.length);
  }
  return captions;
}

/** Half of the captions to rate are drawn: thumbs then teach what the best captions never meet. */
function drawnWith(index: number): number | undefined {
  return index % 2 === 1 ? (seed * 100_003 + index) % 2 ** 31 : undefined;
}

/** Which thumbs are wrong; the same for the same seed, so that a run can be repeated. */
function mistakes(count: number): boolean[] {
  const coin = seededRandom(seed);
  return Array.from({ length: count }, () => coin() < Number(options.noise));
}

async function waitForJob(client: Client, job: Job): Promise<Job> {
  let shown = "";
  for (;;) {
    const current = await client.job(job.id);
    const { phase, step, total_steps: total } = current.progress ?? { phase: current.status, step: 0, total_steps: 1 };
    const line = `${current.status} ${phase} ${step}`;
    if (line !== shown) showProgress(`${current.status}: ${phase}`, step, total);
    shown = line;
    if (ended.has(current.status)) return current;
    await wait(500);
  }
}

async function demonstrate(): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "demo-"));
  const [rated, heldOut] = [join(folder, "rated"), join(folder, "held-out")];
  try {
    const client = await makeTenant();
    console.log(
      `taste "${options.taste}", ${options.thumbs} thumbs, ${Number(options.noise) * 100} % of them wrong, seed ${seed}`,
    );
    const [ratedPictures, pictures] = await timed("drawing", () =>
      Promise.all([
        drawPictures(rated, Number(options.thumbs), ratedSeed + seed * 10_000),
        drawPictures(heldOut, Number(options["held-out"]), heldOutSeed),
      ]),
    );
    const before = await timed("captions_before", () => captionAll(client, "held-out, base version", pictures));
    const served = await timed("captions_to_rate", () =>
      captionAll(client, "captions to rate", ratedPictures, drawnWith),
    );
    const opinions = await judge(
      rated,
      served.map((item) => item.caption),
      options.taste,
    );
    await timed("thumbs", async () => {
      const isMistaken = mistakes(served.length);
      for (const [index, caption] of served.entries()) {
        const up = opinions[index]!.approved !== isMistaken[index];
        await client.rate(caption.id, up ? "up" : "down");
        showProgress("thumbs", index + 1, served.length);
      }
    });
    const job = await timed("thumbs_to_served", async () => {
      const started = await client.startJob(seed, `demo-${Date.now()}-${seed}`);
      const finished = await waitForJob(client, started);
      await client.caption(pictures[0]!.jpeg); // the first caption that the new version serves
      return finished;
    });
    if (job.status !== "succeeded") {
      console.log(`the job ${job.status}: ${job.status_reason?.code} ${job.status_reason?.message}`);
      for (const help of job.status_reason?.help ?? []) console.log(`  ${help}`);
    }
    console.log(gateTable(job.gate?.checks ?? []));
    if (job.report_url)
      console.log(`learning report: ${options.url}${job.report_url}?format=html (with the tenant's key)`);
    const after = await timed("captions_after", () => captionAll(client, "held-out, as now served", pictures));

    const said = { before: before.map((item) => item.caption), after: after.map((item) => item.caption) };
    const judgedBefore = await judge(heldOut, said.before, options.taste);
    const judgedAfter = await judge(heldOut, said.after, options.taste);
    const figures = count(judgedBefore, judgedAfter, said);
    const examples: Example[] = pictures.slice(0, 10).map((picture, index) => ({
      picture,
      before: said.before[index]!,
      after: said.after[index]!,
      approvedBefore: judgedBefore[index]!.approved,
      approvedAfter: judgedAfter[index]!.approved,
    }));
    console.log(`\n${pictures.length} held-out pictures, true taste\n${table(figures)}\n`);
    console.log(
      "named but not there    before:",
      list(hallucinatedKinds(judgedBefore)),
      " after:",
      list(hallucinatedKinds(judgedAfter)),
    );
    for (const example of examples) {
      console.log(
        `  ${example.approvedBefore ? "+" : "-"} ${example.before}\n  ${example.approvedAfter ? "+" : "-"} ${example.after}\n`,
      );
    }
    for (const [name, value] of Object.entries(seconds))
      console.log(`${name.replaceAll("_", " ").padEnd(22)} ${value.toFixed(1)} s`);
    const title = `Taste "${options.taste}": ${options.thumbs} thumbs, seed ${seed}`;
    await writeFile(options.html, html(title, figures, seconds, examples));
    console.log(`report: ${options.html}`);
    if (options.json) {
      const settings = { taste: options.taste, thumbs: Number(options.thumbs), noise: Number(options.noise), seed };
      const versions = { before: before[0]!.version, after: after[0]!.version };
      const all = {
        ...settings,
        job: { id: job.id, status: job.status, status_reason: job.status_reason ?? null },
        versions,
        ...figures,
      };
      await writeFile(
        options.json,
        `${JSON.stringify({ ...all, evaluation: job.evaluation ?? null, seconds }, null, 2)}\n`,
      );
    }
  } finally {
    await rm(folder, { recursive: true });
  }
}

function list(kinds: [string, number][]): string {
  return kinds.map(([kind, times]) => `${kind} ${times}`).join(", ") || "nothing";
}

const service = await ensureService();
try {
  await demonstrate();
} finally {
  if (service?.pid && service.exitCode === null) process.kill(-service.pid, "SIGTERM");
}
