import { cloudflareTest, readD1Migrations } from "@cloudflare/vitest-plugin";
import { defineConfig } from "vitest/config";

const directoryMigrations = await readD1Migrations("db/migrations/directory");

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
                TRAINER_URL: "https://trainer.example",
                PUBLIC_URL: "https://edge.example",
                TRUSTED_KEYS: "",
                DIRECTORY_MIGRATIONS: directoryMigrations,
              },
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
          include: [
            "tests/captioner/**/*.test.ts",
            "tests/db/**/*.test.ts",
            "tests/scripts/**/*.test.ts",
          ],
          exclude: ["tests/captioner/workerd/**"],
          testTimeout: 60_000,
        },
      },
    ],
  },
});
