// Versions that a GPU worker should not have made: the job fails, nothing is published.
import { beforeAll, describe, expect, test } from "vitest";
import type { Manifest } from "../../../captioner/manifest.ts";
import type { SucceededData, TrainerJobRequest } from "../../../edge/contract/trainer.ts";
import { ask, captionProbe, makeTenant, publishBase, type TestTenant } from "../harness.ts";
import { makeVersion, message, rateImages, reach, startJob, submitted, tell } from "./loop.ts";

const zeros = "0".repeat(64);

describe("verifying a version", () => {
  let tenant: TestTenant;
  let served: string;
  beforeAll(async () => {
    await publishBase();
    tenant = await makeTenant();
    await rateImages(tenant.key, 20);
    served = (await captionProbe(tenant.key)).version;
  });

  /** Lets a job end with a version; says what became of it. */
  async function endWith(
    change: (manifest: Manifest) => void,
    adjust: (data: SucceededData, request: TrainerJobRequest) => void = () => undefined,
  ): Promise<string | undefined> {
    const { id } = await startJob(tenant.key, { promote: "auto" });
    const { request } = await submitted(id);
    const made = await makeVersion(request, undefined, change);
    const data = structuredClone(made.done);
    adjust(data, request);
    expect((await tell(request, message(request, 1, { type: "succeeded", data }))).status).toBe(200);
    const job = await reach(tenant.key, id, "failed", "succeeded", "rejected");
    expect(job.version).toBeNull();
    expect((await captionProbe(tenant.key)).version).toBe(served);
    return job.status_reason?.code;
  }

  const lineages: (keyof Manifest["lineage"])[] = ["base_manifest_sha256", "parent", "job_id", "dataset_sha256"];
  test.each(lineages)("a lineage with another %s fails the job", async (name) => {
    expect(await endWith((manifest) => void (manifest.lineage[name] = zeros))).toBe("MANIFEST_INVALID");
  });

  test("another signature fails the job", async () => {
    const other = new Uint8Array(64).toBase64();
    expect(
      await endWith(
        () => undefined,
        (data) => void (data.signature = other),
      ),
    ).toBe("SIGNATURE_INVALID");
  });

  test("a probe that it does not answer as promised fails the job", async () => {
    expect(await endWith((manifest) => void manifest.probe.expected_tokens.reverse())).toBe("MANIFEST_INVALID");
  });

  test("a file of another size fails the job", async () => {
    const grow = (manifest: Manifest): void => {
      for (const file of manifest.files) if (file.path === "config.json") file.size += 1;
    };
    expect(await endWith(grow)).toBe("FILES_MISSING");
  });

  test("a manifest that was never uploaded fails the job", async () => {
    expect(
      await endWith(
        () => undefined,
        (data) => void (data.manifest_sha256 = zeros),
      ),
    ).toBe("FILES_MISSING");
  });

  test("a model that cannot be run fails the job", async () => {
    const swap = (manifest: Manifest): void => {
      const text = manifest.files.find(({ path }) => path === "config.json");
      const model = manifest.files.find(({ path }) => path === "onnx/decoder_model_merged.onnx");
      if (text && model) Object.assign(model, { sha256: text.sha256, size: text.size });
    };
    expect(await endWith(swap)).toBe("PROBE_FAILED");
  });

  test("none of them is listed", async () => {
    const { data } = await ask<{ data: { is_base: boolean }[] }>(200, "GET", "/v1/models/scenes/versions", {
      key: tenant.key,
    });
    expect(data.every((version) => version.is_base)).toBe(true);
  });
});
