// Rounds: thumbs on a version's captions train the next one, always from the base.
import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { beforeAll, describe, expect, test } from "vitest";
import migration from "../../../db/migrations/tenant/0001_learning_report.sql";
import type { Job } from "../../../edge/contract/jobs.ts";
import type { Lineage, Version } from "../../../edge/contract/models.ts";
import type { TrainerJobRequest } from "../../../edge/contract/trainer.ts";
import { unwrap } from "../../../edge/tenant/result.ts";
import type { Round } from "../../../edge/tenant/versions.ts";
import { ask, captionProbe, makeTenant, publishBase, refused, type TestTenant } from "../harness.ts";
import { good, rateImages, runJob } from "./loop.ts";

const root = "/v1/models/scenes/versions";

describe("rounds of feedback", () => {
  let tenant: TestTenant;
  let key: string;
  let base: string;
  const rounds: { job: Job; request: TrainerJobRequest }[] = [];

  beforeAll(async () => {
    await publishBase();
    tenant = await makeTenant();
    key = tenant.key;
    base = (await captionProbe(key)).version;
    for (const seed of [1, 2]) {
      await rateImages(key, 20);
      rounds.push(await runJob(tenant, { promote: "auto", seed }));
    }
  });
  const version = (round: number): string => rounds[round]?.job.version ?? "";

  test("thumbs on a tuned version's captions count beside those on the base's, and training starts from the base", () => {
    expect(rounds[0]?.job.data_set?.counts).toMatchObject({ images: 20, ratings: 20, by_version: { [base]: 20 } });
    const counts = { images: 20, ratings: 40, by_version: { [base]: 20, [version(0)]: 20 } };
    expect(rounds[1]?.job.data_set?.counts).toMatchObject(counts);
    const digests = rounds.map(({ request }) => request.base_manifest_sha256);
    expect(digests[1]).toBe(digests[0]);
    expect(rounds[1]?.job).toMatchObject({ base_version: base, parent_version: version(0) });
  });

  test("a version's lineage shows each round down to the base", async () => {
    const lineage = await ask<Lineage>(200, "GET", `${root}/${version(1)}/lineage`, { key });
    const { predicted_approval } = good;
    const own = rounds.toReversed().map(({ job: { id, data_set, gate } }) => {
      return { job: id, is_base: false, counts: data_set?.counts, gate, predicted_approval };
    });
    expect(lineage).toMatchObject({
      version: version(1),
      base_version: base,
      earlier: null,
      rounds: [
        { version: version(1), parent_version: version(0), ...own[0] },
        { version: version(0), parent_version: base, ...own[1] },
        { version: base, is_base: true, parent_version: null, job: null, counts: null, gate: null },
      ],
    });
  });

  test("a base is a lineage of its own; a version of nobody's has none", async () => {
    const lineage = await ask<Lineage>(200, "GET", `${root}/${base}/lineage`, { key });
    expect(lineage).toMatchObject({ version: base, base_version: base, rounds: [{ version: base, is_base: true }] });
    await refused("MODEL_NOT_FOUND", "GET", `${root}/ver_000000000000000000000000/lineage`, { key });
  });

  test("a lineage longer than what is shown at once is cut where it was asked to be", async () => {
    const store = env.TENANT.getByName(tenant.id);
    const found = unwrap(await store.versionLineage(version(1), 1)) as Round[];
    expect(found.map((round) => round.version.id)).toEqual([version(1)]);
  });

  test("records from before gates listed their checks are read as records without checks", async () => {
    await runInDurableObject(env.TENANT.getByName(tenant.id), (_, { storage: { sql } }) => {
      sql.exec("update jobs set gate = json_remove(gate, '$.checks')");
      sql.exec("update versions set gate = json_remove(gate, '$.checks')");
      sql.exec("update data_sets set counts = json_remove(counts, '$.by_version')");
      for (const statement of migration.split("--> statement-breakpoint")) {
        if (!statement.includes("ALTER TABLE")) sql.exec(statement);
      }
    });
    const job = await ask<Job>(200, "GET", `/v1/fine_tuning/jobs/${rounds[0]?.job.id}`, { key });
    expect(job).toMatchObject({ gate: { verdict: "passed", checks: [] }, data_set: { counts: { by_version: {} } } });
    const shown = await ask<Version>(200, "GET", `${root}/${version(0)}`, { key });
    expect(shown.gate).toEqual({ verdict: "passed", reasons: [], checks: [] });
  });
});
