// The whole service on this machine: GPU worker and edge as child processes, restarted when they
// die; the base version published; a demo tenant with a key.
//   EDGE_PORT 8787   TRAINER_PORT 8788   DATA_DIR .data   BASE_DIR models/scenes-base
//   EXTRA_TRUSTED_KEYS  further Ed25519 public keys, base64, that may sign versions
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { demoTenant, sampleImage } from "./serve/demo-tenant.ts";
import { requireFreePort, run, superviseChild, type Child } from "./serve/processes.ts";
import { loadSecrets, publicKeyOf } from "./serve/secrets.ts";
import { publishBase } from "./publish-base.ts";

const root = resolve(import.meta.dirname, "..");
const dataDir = resolve(root, process.env["DATA_DIR"] ?? ".data");
const baseDir = resolve(root, process.env["BASE_DIR"] ?? "models/scenes-base");
const edgePort = Number(process.env["EDGE_PORT"] ?? 8787);
const trainerPort = Number(process.env["TRAINER_PORT"] ?? 8788);
const edgeUrl = `http://127.0.0.1:${edgePort}`;
const trainerUrl = `http://127.0.0.1:${trainerPort}`;
const wrangler = join(root, "node_modules/wrangler/bin/wrangler.js");
const python = join(root, ".venv/bin/python");
// No usage statistics, no look for updates: the service works behind a closed network. Wrangler's
// local trace collector is off: it fails on Workflows and takes workerd down with it.
const quiet = {
  CI: "1",
  WRANGLER_SEND_METRICS: "false",
  WRANGLER_LOG: "warn",
  NO_UPDATE_NOTIFIER: "1",
  CLOUDFLARE_CF_FETCH_ENABLED: "false",
  X_LOCAL_OBSERVABILITY: "false",
};

const children: Child[] = [];
let isStopping = false;

async function stop(code: number): Promise<void> {
  if (isStopping) return;
  isStopping = true;
  await Promise.all(children.map((child) => child.stop()));
  process.exit(code);
}
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => void stop(0));

function say(text: string): void {
  console.log(`[start] ${text}`);
}

async function waitFor(url: string, what: string): Promise<void> {
  const started = Date.now();
  for (let asked = 0; ; asked++) {
    const up = await fetch(`${url}/healthz`).then(
      (response) => response.ok,
      () => false,
    );
    if (up) return;
    if (asked > 0 && asked % 40 === 0) say(`waiting for ${what}: ${Math.round((Date.now() - started) / 1000)} s`);
    if (Date.now() - started > 120_000)
      throw new Error(`${what} did not come up within two minutes; see ${dataDir}/logs`);
    await new Promise((wake) => setTimeout(wake, 250));
  }
}

async function main(): Promise<void> {
  await requireFreePort(edgePort, "EDGE_PORT");
  await requireFreePort(trainerPort, "TRAINER_PORT");
  await mkdir(join(dataDir, "logs"), { recursive: true });
  const secrets = await loadSecrets(join(dataDir, "secrets.json"));
  const trusted = [publicKeyOf(secrets.signing_seed), ...(process.env["EXTRA_TRUSTED_KEYS"] ?? "").split(",")];
  const envFile = join(dataDir, "edge.env");
  const variables = {
    ADMIN_TOKEN: secrets.admin_token,
    TRAINER_TOKEN: secrets.trainer_token,
    TRAINER_URL: trainerUrl,
    PUBLIC_URL: edgeUrl,
    TRUSTED_KEYS: trusted.filter(Boolean).join(","),
  };
  const lines = Object.entries(variables).map(([name, value]) => `${name}="${value}"\n`);
  await writeFile(envFile, lines.join(""), { mode: 0o600 });

  say("starting the GPU worker and the edge: about 10 seconds");
  const state = ["--persist-to", join(dataDir, "edge")];
  await run(process.execPath, [wrangler, "d1", "migrations", "apply", "DIRECTORY", "--local", ...state], {
    cwd: root,
    env: { ...process.env, ...quiet },
  });
  const trainer = superviseChild({
    name: "gpu-worker",
    logFile: join(dataDir, "logs", "gpu-worker.log"),
    command: python,
    args: ["-m", "uvicorn", "--factory", "server.app:create_app_from_env", "--host", "127.0.0.1"].concat([
      "--port",
      String(trainerPort),
      "--no-access-log",
    ]),
    cwd: root,
    env: {
      ...process.env,
      PYTHONPATH: join(root, "gpu-workers"),
      TRAINER_TOKEN: secrets.trainer_token,
      DICO_SIGNING_KEY: secrets.signing_seed,
      JOBS_DIR: join(dataDir, "jobs"),
      BASES_DIR: dirname(baseDir),
    },
  });
  const edge = superviseChild({
    name: "edge",
    logFile: join(dataDir, "logs", "edge.log"),
    command: process.execPath,
    args: [wrangler, "dev", "--ip", "127.0.0.1", "--port", String(edgePort), "--inspector-port", "0"].concat([
      "--env-file",
      envFile,
      "--show-interactive-dev-session=false",
      ...state,
    ]),
    cwd: root,
    env: { ...process.env, ...quiet },
  });
  children.push(trainer, edge);
  const notePids = async (): Promise<void> => {
    const file = join(dataDir, "pids.json");
    await writeFile(`${file}.partial`, JSON.stringify({ gpu_worker: trainer.pid(), edge: edge.pid() }));
    await rename(`${file}.partial`, file);
  };
  for (const child of children) child.onStart(notePids);
  await notePids();
  await Promise.all([waitFor(trainerUrl, "the GPU worker"), waitFor(edgeUrl, "the edge")]);

  const base = await publishBase(edgeUrl, secrets.admin_token, baseDir, say);
  const demo = await demoTenant(join(dataDir, "demo.json"), edgeUrl, secrets.admin_token);
  const image = await sampleImage(join(dataDir, "samples"), python, root);
  const said = await firstCaption(demo.key, join(baseDir, base.probe.image));
  if (said !== base.probe.expected_caption) {
    throw new Error(`the base version says "${said}" to its probe image instead of "${base.probe.expected_caption}"`);
  }
  console.log(`
The service is up at ${edgeUrl}  (API docs: ${edgeUrl}/docs)
GPU worker: ${trainerUrl}   data, logs and secrets: ${dataDir}

  export KEY=${demo.key}
  curl ${edgeUrl}/v1/captions -H "authorization: Bearer $KEY" -H "content-type: image/jpeg" --data-binary @${image}

See it learn from 200 thumbs:   npm run demo
Stop it:                        Ctrl-C
`);
}

async function firstCaption(key: string, file: string): Promise<string> {
  const response = await fetch(`${edgeUrl}/v1/captions`, {
    method: "POST",
    headers: { authorization: `Bearer ${key}`, "content-type": "image/png" },
    body: await readFile(file),
  });
  const body = (await response.json()) as { caption?: string; detail?: string };
  return body.caption ?? body.detail ?? "";
}

try {
  await main();
} catch (error) {
  console.error(`[start] ${error instanceof Error ? error.message : String(error)}`);
  await stop(1);
}
