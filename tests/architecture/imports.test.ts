// The import table of ARCHITECTURE.md, held against every file.
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { describe, expect, test } from "vitest";

const root = join(import.meta.dirname, "../..");
const files = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard"], {
  cwd: root,
  encoding: "utf8",
})
  .trim()
  .split("\n");
const textOf = (file: string): string => readFileSync(join(root, file), "utf8");

/** Which of our folders each may import from, besides itself. */
const allowed: Record<string, string[]> = { captioner: [], db: [], edge: ["captioner", "db"] };

const sources = files.filter((file) => /^(captioner|db|edge)\/.*\.ts$/.test(file));
const generated =
  /^(edge\/assets|db\/migrations|models|tests\/fixtures|scripts\/sprites)\/|contract\.py$|lock|openapi\.yaml$/;
const written = files.filter((file) => /\.(ts|mjs|py)$/.test(file) && !generated.test(file));

describe("the architecture", () => {
  test.each(sources)("%s imports what its folder may", (file) => {
    const folder = file.split("/")[0] ?? "";
    for (const [, path = ""] of textOf(file).matchAll(/(?:from|import)\s*\(?"(\.[^"]+)"/g)) {
      const target = normalize(join(dirname(file), path)).split("/")[0] ?? "";
      if (target === "openapi.yaml") continue;
      expect([folder, ...(allowed[folder] ?? [])], `${file} imports ${path}`).toContain(target);
    }
  });

  test("the captioner knows neither HTTP nor Cloudflare, beyond its own runtime for workerd", () => {
    for (const file of sources.filter((name) => name.startsWith("captioner/"))) {
      expect(textOf(file), file).not.toMatch(/from "(hono|cloudflare:|@cloudflare)/);
    }
  });

  test("only modal_app.py imports modal; scenes imports nothing of ours; only pre-training imports scenes", () => {
    for (const file of files.filter((name) => name.startsWith("gpu-workers/") && name.endsWith(".py"))) {
      const text = textOf(file);
      const imports = [...text.matchAll(/^\s*(?:from|import) (\w+)/gm)].map(([, name]) => name);
      if (!file.endsWith("modal_app.py")) expect(imports, file).not.toContain("modal");
      if (file.startsWith("gpu-workers/scenes/")) {
        expect(imports, file).not.toContain("server");
        if (!file.endsWith("/cli.py")) expect(imports, file).not.toContain("dico");
      }
      if (/gpu-workers\/dico\/(?!pretraining|claims|cli|[a-z_]+_cli)/.test(file))
        expect(imports, file).not.toContain("scenes");
    }
  });

  test("there are no drawers, and no file is longer than 400 lines", () => {
    expect(files.filter((file) => /(^|\/)(utils?|helpers?|common|lib)(\.[a-z]+$|\/)/.test(file))).toEqual([]);
    expect(written.filter((file) => textOf(file).split("\n").length > 401)).toEqual([]);
  });
});
