// Child processes: run to their end, or kept alive.
import { spawn, type ChildProcess, type SpawnOptions } from "node:child_process";
import { createWriteStream } from "node:fs";
import { createServer } from "node:net";
import { createInterface } from "node:readline";

/** Runs a program to its end; its output is shown only if it fails. */
export function run(command: string, args: string[], options: SpawnOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { ...options, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    child.stdout?.on("data", (chunk: Buffer) => (output += chunk.toString()));
    child.stderr?.on("data", (chunk: Buffer) => (output += chunk.toString()));
    child.on("error", reject);
    child.on("close", (code) => (code === 0 ? resolve() : reject(new Error(`${args.join(" ")} failed:\n${output}`))));
  });
}

/** @throws Error that says which setting to change. */
export function requireFreePort(port: number, setting: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on("error", () => {
      reject(new Error(`port ${port} is taken: is the service running already? Else choose another with ${setting}=…`));
    });
    server.listen(port, "127.0.0.1", () => server.close(() => resolve()));
  });
}

/** What to keep running. */
export interface ChildSettings {
  name: string;
  logFile: string;
  command: string;
  args: string[];
  cwd: string;
  env: NodeJS.ProcessEnv;
}

/** A program that is kept running. */
export interface Child {
  pid(): number | undefined;
  onStart(listener: () => Promise<void>): void;
  /** Ends it for good, with all that it started. */
  stop(): Promise<void>;
}

const steadyMilliseconds = 30_000;
const longestWaitMilliseconds = 10_000;
const patienceMilliseconds = 8_000;

/** Starts a program in a process group of its own and starts it again when it dies, ever later. */
export function superviseChild({ name, logFile, command, args, cwd, env }: ChildSettings): Child {
  const log = createWriteStream(logFile, { flags: "a" });
  const listeners: (() => Promise<void>)[] = [];
  let child: ChildProcess | undefined;
  let isStopped = false;
  let failures = 0;

  const start = (): void => {
    const started = Date.now();
    child = spawn(command, args, { cwd, env, detached: true, stdio: ["ignore", "pipe", "pipe"] });
    for (const stream of [child.stdout, child.stderr]) {
      if (!stream) continue;
      createInterface({ input: stream }).on("line", (line) => {
        log.write(`${line}\n`);
        if (/error|exception|traceback/i.test(line)) console.error(`[${name}] ${line}`);
      });
    }
    const { pid } = child;
    child.on("error", (error) => console.error(`[${name}] ${error.message}`));
    child.on("exit", (code, signal) => {
      // What it started may live on and hold the port.
      killGroup(pid, "SIGKILL");
      if (isStopped) return;
      failures = Date.now() - started > steadyMilliseconds ? 1 : failures + 1;
      const wait = Math.min(500 * 2 ** (failures - 1), longestWaitMilliseconds);
      console.error(
        `[start] ${name} ended (${signal ?? code}); starting it again in ${wait / 1000} s; log: ${logFile}`,
      );
      setTimeout(() => {
        if (!isStopped) start();
      }, wait);
    });
    for (const listener of listeners) void listener();
  };
  start();

  return {
    pid: () => child?.pid,
    onStart: (listener) => listeners.push(listener),
    stop: async () => {
      isStopped = true;
      const last = child;
      if (!last || last.exitCode !== null || last.signalCode !== null) return;
      const ended = new Promise<void>((resolve) => last.once("exit", () => resolve()));
      killGroup(last.pid, "SIGTERM");
      const timer = setTimeout(() => killGroup(last.pid, "SIGKILL"), patienceMilliseconds);
      await ended;
      clearTimeout(timer);
    },
  };
}

function killGroup(pid: number | undefined, signal: NodeJS.Signals): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, signal);
  } catch {
    // Nobody of the group is left.
  }
}
