// The whole service in a folder of its own, as `npm start` runs it, with the tiny test version.
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";

const root = join(import.meta.dirname, "../..");
const { public_key: testKey } = JSON.parse(
  readFileSync(join(root, "tests/fixtures/tiny-version-key.json"), "utf8"),
) as { public_key: string };

export interface Service {
  url: string;
  key: string;
  /** Ends one of the two processes as a power cut would; it is started again by itself. */
  kill(name: "edge" | "gpu_worker"): Promise<void>;
  /** What workerd and the Worker have said so far. */
  edgeLog(): string;
  stop(): Promise<void>;
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" && address ? address.port : 0));
    });
  });
}

/** @throws Error with the service's output when it does not come up. */
export async function startService(): Promise<Service> {
  const folder = mkdtempSync(join(tmpdir(), "service-"));
  const base = join(folder, "bases", "tiny");
  execFileSync(join(root, ".venv/bin/python"), ["tests/loop/make-base.py", base], {
    cwd: root,
    env: { ...process.env, PYTHONPATH: "gpu-workers" },
  });
  const port = await freePort();
  const env = {
    ...process.env,
    DATA_DIR: folder,
    BASE_DIR: base,
    EXTRA_TRUSTED_KEYS: testKey,
    EDGE_PORT: String(port),
    TRAINER_PORT: String(await freePort()),
  };
  let output = "";
  const service = spawn(process.execPath, ["scripts/serve.ts"], { cwd: root, env, stdio: ["ignore", "pipe", "pipe"] });
  for (const stream of [service.stdout, service.stderr])
    stream.on("data", (chunk: Buffer) => (output += String(chunk)));
  while (!output.includes("The service is up")) {
    if (service.exitCode !== null) throw new Error(`the service ended:\n${output}`);
    await wait(100);
  }
  const read = (name: string): Record<string, unknown> =>
    JSON.parse(readFileSync(join(folder, name), "utf8")) as Record<string, unknown>;
  return {
    url: `http://127.0.0.1:${port}`,
    key: String(read("demo.json")["key"]),
    kill: async (name) => {
      const pid = Number(read("pids.json")[name]);
      process.kill(-pid, "SIGKILL");
      while (Number(read("pids.json")[name]) === pid) await wait(50);
    },
    edgeLog: () => readFileSync(join(folder, "logs/edge.log"), "utf8"),
    stop: async () => {
      await ended(service);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function ended(service: ChildProcess): Promise<void> {
  const exit = new Promise((resolve) => service.once("exit", resolve));
  if (service.exitCode === null) {
    service.kill("SIGTERM");
    await exit;
  }
}
