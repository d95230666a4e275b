// Makes a fresh checkout runnable: Node packages with the pinned Node 24, Python packages in .venv.
// Runs on plain Node 20 or newer without any package; a second run only compares digests.
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { delimiter, dirname, join, sep } from "node:path";
import { fileURLToPath } from "node:url";

/** The repository's folder. */
export const root = dirname(dirname(fileURLToPath(import.meta.url)));

const windows = process.platform === "win32";
const venv = join(root, ".venv");

/** The interpreter of `.venv`. */
export const python = join(venv, ...(windows ? ["Scripts", "python.exe"] : ["bin", "python"]));

/** The pinned Node 24 that `npm ci` brings. */
export const node = join(root, "node_modules", "node", "bin", windows ? "node.exe" : "node");

/** A program of an installed Node package, to be run with `node`. */
export const packageFile = (path) => join(root, "node_modules", ...path.split("/"));

/**
 * Installs what is missing or has changed and says so.
 *
 * @throws Error with a text for people.
 */
export async function setUp() {
  await installNodePackages();
  await installPythonPackages();
}

async function installNodePackages() {
  const stamp = join(root, "node_modules", ".setup-stamp");
  const wanted = digestOf([join(root, "package-lock.json")], process.platform, process.arch);
  if (isStamped(stamp, wanted) && existsSync(node)) return;
  say("installing the Node packages with npm ci: about half a minute, 0.7 GB on disk");
  rmSync(stamp, { force: true });
  await run("npm", ["ci", "--no-audit", "--no-fund", "--loglevel=error"], { shell: windows });
  // npm may hold back install scripts; this one only puts the binary of the platform in place.
  if (!existsSync(node)) {
    await run(process.execPath, ["installArchSpecificPackage.js"], { cwd: packageFile("node") });
  }
  const version = spawnSync(node, ["--version"], { encoding: "utf8" }).stdout?.trim();
  if (!version?.startsWith("v24.")) {
    throw new Error(`Node 24 did not arrive at node_modules/node/bin (found: ${version || "nothing"})`);
  }
  writeFileSync(stamp, wanted);
}

async function installPythonPackages() {
  const stamp = join(venv, ".setup-stamp");
  const requirements = join(root, "gpu-workers", "requirements.txt");
  const uvRequirements = join(root, "scripts", "uv-requirements.txt");
  // A virtual environment holds absolute paths, so a checkout that was moved needs a new one.
  const wanted = digestOf([requirements, uvRequirements], root);
  if (isStamped(stamp, wanted) && existsSync(python)) return;
  rmSync(stamp, { force: true });
  if (!isPython311(python)) {
    say("making a Python 3.11 environment in .venv");
    rmSync(venv, { recursive: true, force: true });
    await run(findPython(), ["-m", "venv", venv]);
  }
  say("installing the Python packages: PyTorch and others, 1 to 5 minutes, about 5 GB on disk");
  const pip = ["-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--require-hashes", "-r"];
  try {
    await run(python, [...pip, uvRequirements]);
    await run(python, ["-m", "uv", "pip", "sync", "--python", python, "--require-hashes", requirements], {
      env: { ...process.env, UV_LINK_MODE: "copy" },
    });
  } catch (error) {
    say(`uv could not do it (${error.message}); trying pip, which takes longer`);
    await run(python, [...pip, requirements]);
  }
  const sitePackages = capture(python, ["-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]);
  writeFileSync(join(sitePackages, "gpu-workers.pth"), `${join(root, "gpu-workers")}\n`);
  writeFileSync(stamp, wanted);
}

function findPython() {
  const candidates = [process.env.PYTHON, "python3.11", "python3", "python"].filter(Boolean);
  const found = candidates.find(isPython311);
  if (found) return found;
  throw new Error(
    `Python 3.11 is needed and was not found (tried ${candidates.join(", ")}); ` +
      "install it with its venv module, or name it: PYTHON=/path/to/python3.11 npm start",
  );
}

function isPython311(command) {
  return capture(command, ["-c", "import sys, venv; print('%d.%d' % sys.version_info[:2])"]) === "3.11";
}

function capture(command, args) {
  const result = spawnSync(command, args, { encoding: "utf8" });
  return result.status === 0 ? result.stdout.trim() : "";
}

function isStamped(stamp, wanted) {
  return existsSync(stamp) && readFileSync(stamp, "utf8") === wanted;
}

function digestOf(files, ...words) {
  const hash = createHash("sha256").update(JSON.stringify(words));
  for (const file of files) hash.update(readFileSync(file));
  return hash.digest("hex");
}

/** Runs a program in the repository's folder, its output shown; rejects when it fails. */
function run(command, args, options = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: root, stdio: "inherit", env: ownEnvironment(), ...options });
    child.on("error", (error) => reject(new Error(`${command} cannot be started: ${error.message}`)));
    child.on("exit", (code, signal) => {
      if (code === 0) resolve();
      else reject(new Error(`${command} ${args[0]} ended with ${signal ?? code}`));
    });
  });
}

// Under `npm run` the path begins with node_modules/.bin, whose node `npm ci` is about to delete.
function ownEnvironment() {
  const inPackages = (folder) => folder.includes(`${sep}node_modules${sep}`);
  const path = (process.env.PATH ?? "").split(delimiter).filter((folder) => !inPackages(`${folder}${sep}`));
  return { ...process.env, PATH: path.join(delimiter) };
}

/** One line about what is going on. */
export function say(text) {
  console.log(`[setup] ${text}`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const started = Date.now();
  try {
    await setUp();
    say(`ready after ${((Date.now() - started) / 1000).toFixed(1)} s`);
  } catch (error) {
    console.error(`[setup] ${error.message}`);
    process.exitCode = 1;
  }
}
