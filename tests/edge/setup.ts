import { applyD1Migrations, type D1Migration } from "cloudflare:test";
import { env } from "cloudflare:workers";
import type * as worker from "../../edge/index.ts";

declare global {
  // What vitest.config.ts binds for tests.
  namespace Cloudflare {
    interface GlobalProps {
      mainModule: typeof worker;
    }
    interface Env {
      TEST_DIRECTORY_MIGRATIONS: D1Migration[];
      /** Base64 of the seed whose public key the tests' Worker trusts. */
      TEST_SIGNING_SEED: string;
      TEST_VERSION: Record<string, string>;
      TEST_VERSION_2: Record<string, string>;
      /** Pictures in base64 by name, and what the Python side makes of them. */
      TEST_PICTURES: Record<string, string>;
      TEST_GOLDENS: { images: { file: string; pixels: string; tokens: number[] }[] };
    }
  }
}

await applyD1Migrations(env.DIRECTORY, env.TEST_DIRECTORY_MIGRATIONS);
