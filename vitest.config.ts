import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { cloudflareTest, readD1Migrations } from "@cloudflare/vitest-plugin";
import { defineConfig } from "vitest/config";
import { outbound } from "./tests/edge/outbound.ts";

const fixtures = "tests/fixtures";
const { public_key: testKey, seed: testSeed } = JSON.parse(readFileSync(`${fixtures}/tiny-version-key.json`, "utf8"));

/** A fixture folder's files in base64 by path, for tests that have no file system. */
function fixtureFiles(name: string): Record<string, string> {
  const root = join(fixtures, name);
  const entries = readdirSync(root, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return Object.fromEntries(
    entries.map((entry) => {
      const path = join(entry.parentPath, entry.name);
      return [path.slice(root.length + 1), readFileSync(path).toString("base64")];
    }),
  );
}

export default defineConfig({
  test: {
    projects: [
      {
        plugins: [
          cloudflareTest({
            wrangler: { configPath: "./wrangler.toml" },
            miniflare: {
              bindings: {
                ADMIN_TOKEN: "admin-token-of-the-tests",
                TRAINER_TOKEN: "trainer-token-of-the-tests",
                TRAINER_URL: "https://trainer.example.org",
                PUBLIC_URL: "https://edge.example.org",
                TRUSTED_KEYS: testKey,
                TEST_DIRECTORY_MIGRATIONS: await readD1Migrations("db/migrations/directory"),
                TEST_SIGNING_SEED: testSeed,
                TEST_VERSION: fixtureFiles("tiny-version"),
                TEST_VERSION_2: fixtureFiles("tiny-version-2"),
                TEST_PICTURES: fixtureFiles("pixels"),
                TEST_GOLDENS: JSON.parse(readFileSync(`${fixtures}/pixels/goldens.json`, "utf8")),
              },
              outboundService: outbound,
            },
          }),
        ],
        test: {
          name: "edge",
          include: ["tests/edge/**/*.test.ts", "tests/captioner/workerd/**/*.test.ts"],
          setupFiles: ["tests/edge/setup.ts"],
          testTimeout: 60_000,
          hookTimeout: 120_000,
        },
      },
      {
        test: {
          name: "node",
          environment: "node",
          include: ["tests/captioner/**/*.test.ts", "tests/architecture/**/*.test.ts"],
          exclude: ["tests/captioner/workerd/**"],
          testTimeout: 60_000,
        },
      },
      {
        test: {
          name: "loop",
          environment: "node",
          include: ["tests/loop/**/*.test.ts"],
        },
      },
    ],
  },
});
