// npm test: all tests of both languages; the last line counts them.
// Arguments, if any, choose test files: `npm test -- tests/edge/captions.test.ts`.
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { node, packageFile, python, root, setUp } from "./setup.mjs";

const results = join(root, "test-results");
const chosen = process.argv.slice(2);

try {
  await setUp();
} catch (error) {
  console.error(error.message);
  console.log("0 passed, 1 failed");
  process.exit(1);
}

mkdirSync(results, { recursive: true });
const suites = [
  { name: "vitest", files: chosen.filter((file) => !file.includes(".py")), run: vitest, read: readVitest },
  { name: "pytest", files: chosen.filter((file) => file.includes(".py")), run: pytest, read: readPytest },
].filter((suite) => chosen.length === 0 || suite.files.length > 0);

let passed = 0;
let failed = 0;
for (const suite of suites) {
  const report = join(results, `${suite.name}.${suite.name === "vitest" ? "json" : "xml"}`);
  rmSync(report, { force: true });
  console.log(`\n== ${suite.name} ==`);
  const status = await suite.run(report, suite.files);
  const counts = existsSync(report) ? suite.read(readFileSync(report, "utf8")) : { passed: 0, failed: 0 };
  passed += counts.passed;
  // A run that ends badly without naming a test has failed all the same.
  failed += counts.failed || (status === 0 && counts.passed > 0 ? 0 : 1);
}
console.log(`\n${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;

function vitest(report, files) {
  const reporters = ["--reporter=default", "--reporter=json", `--outputFile.json=${report}`];
  return run(node, [packageFile("vitest/vitest.mjs"), "run", ...reporters, ...files]);
}

function pytest(report, files) {
  const settings = ["-c", "gpu-workers/pyproject.toml", "--rootdir", ".", `--junitxml=${report}`];
  return run(python, ["-m", "pytest", ...settings, ...(files.length > 0 ? files : ["tests/gpu-workers"])]);
}

function readVitest(text) {
  const { numPassedTests, numFailedTests, testResults } = JSON.parse(text);
  // A file that cannot even be loaded has no test that could fail.
  const broken = testResults.filter((file) => file.status === "failed" && file.assertionResults.length === 0);
  return { passed: numPassedTests, failed: numFailedTests + broken.length };
}

function readPytest(text) {
  const attributes = /<testsuite ([^>]*)>/.exec(text)?.[1] ?? "";
  const count = (name) => Number(new RegExp(`\\b${name}="(\\d+)"`).exec(attributes)?.[1] ?? 0);
  const failures = count("failures") + count("errors");
  return { passed: count("tests") - failures - count("skipped"), failed: failures };
}

/** Runs a program with its output shown; resolves with its exit status. */
function run(command, args) {
  // Programs that the tests start by name (`node`, `python`) are the pinned ones as well.
  const path = [dirname(node), dirname(python), process.env.PATH ?? ""].join(process.platform === "win32" ? ";" : ":");
  const env = { ...process.env, PATH: path, CI: "1", WRANGLER_SEND_METRICS: "false" };
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd: root, stdio: "inherit", env });
    child.on("error", () => resolve(1));
    child.on("exit", (code) => resolve(code ?? 1));
  });
}
