import { defineConfig } from "drizzle-kit";

export default defineConfig({
  dialect: "sqlite",
  schema: "./db/directory.ts",
  out: "./db/migrations/directory",
});
