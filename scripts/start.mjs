// npm start: sets up what is missing, then hands over to the pinned Node with scripts/serve.ts.
// Runs on plain Node 20 or newer without any package.
import { spawn } from "node:child_process";
import { delimiter, dirname, join } from "node:path";
import { node, python, root, setUp } from "./setup.mjs";

try {
  await setUp();
} catch (error) {
  console.error(`[setup] ${error.message}`);
  process.exit(1);
}
const path = [dirname(node), dirname(python), process.env.PATH ?? ""].join(delimiter);
const service = spawn(node, [join(root, "scripts", "serve.ts")], {
  cwd: root,
  stdio: "inherit",
  env: { ...process.env, PATH: path },
});
// The service ends itself on a signal; this process only waits for it.
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => service.kill(signal));
service.on("exit", (code) => process.exit(code ?? 1));
