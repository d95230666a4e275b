import { DurableObject } from "cloudflare:workers";
import { drizzle, type DrizzleSqliteDODatabase } from "drizzle-orm/durable-sqlite";
import { migrate } from "drizzle-orm/durable-sqlite/migrator";
import migrations from "../../db/migrations/tenant/migrations.js";
import { readEnv } from "../env.ts";
import { wakeJobs, wakeMilliseconds } from "../fine-tune/wake.ts";
import { imageKey } from "../services/images.ts";
import * as captions from "./captions.ts";
import * as feedback from "./feedback.ts";
import * as idempotency from "./idempotency.ts";
import * as jobs from "./jobs.ts";
import { settle } from "./result.ts";
import * as versions from "./versions.ts";

export type TenantDatabase = DrizzleSqliteDODatabase;

/** One tenant's records. Calls run one at a time; each is one query file's function, settled. */
export class TenantStore extends DurableObject<Cloudflare.Env> {
  readonly #db: TenantDatabase;

  constructor(ctx: DurableObjectState, bindings: Cloudflare.Env) {
    super(ctx, bindings);
    this.#db = drizzle(ctx.storage);
    void ctx.blockConcurrencyWhile(async () => {
      await migrate(this.#db, migrations);
      await this.#watchJobs();
    });
  }

  /** Looks after unfinished jobs, for as long as there are any. */
  override async alarm(): Promise<void> {
    const now = new Date();
    for (const failure of await wakeJobs(readEnv(this.env), jobs.activeJobs(this.#db), now))
      jobs.advanceJob(this.#db, { ...failure, now });
    await this.#watchJobs();
  }

  async #watchJobs(): Promise<void> {
    if (jobs.activeJobs(this.#db).length === 0 || (await this.ctx.storage.getAlarm()) !== null) return;
    await this.ctx.storage.setAlarm(Date.now() + wakeMilliseconds);
  }

  insertCaption(caption: captions.CaptionRow) {
    return settle(() => captions.insertCaption(this.#db, caption));
  }
  listCaptions(page: Parameters<typeof captions.listCaptions>[1]) {
    return settle(() => captions.listCaptions(this.#db, page));
  }
  getCaption(id: string) {
    return settle(() => captions.getCaption(this.#db, id));
  }
  /** Deletes a caption, its feedback and, with its last caption, its image. */
  deleteCaption(tenantId: string, id: string) {
    // Blocked, so that no caption of the same image is stored between its last row and its bytes.
    return this.ctx.blockConcurrencyWhile(() =>
      settle(async () => {
        const orphan = await captions.deleteCaption(this.#db, id);
        if (orphan) await readEnv(this.env).objects.delete(imageKey(tenantId, orphan));
      }),
    );
  }

  upsertFeedback(given: feedback.NewFeedback) {
    return settle(() => feedback.upsertFeedback(this.#db, given));
  }
  listFeedback(page: Parameters<typeof feedback.listFeedback>[1]) {
    return settle(() => feedback.listFeedback(this.#db, page));
  }

  beginIdempotent(request: Parameters<typeof idempotency.beginIdempotent>[1]) {
    return settle(() => idempotency.beginIdempotent(this.#db, request));
  }
  endIdempotent(answer: Parameters<typeof idempotency.endIdempotent>[1]) {
    return settle(() => idempotency.endIdempotent(this.#db, answer));
  }
  forgetIdempotent(key: idempotency.IdempotencyKey) {
    return settle(() => idempotency.forgetIdempotent(this.#db, key));
  }

  /** Thumbs with their captions, newest first, at most `limit`, and how many there are in all. */
  ratedCaptions(filter: feedback.RatedFilter, limit: number) {
    return settle(() => feedback.ratedCaptions(this.#db, filter, limit));
  }

  insertJob(job: jobs.JobRow) {
    return settle(async () => {
      jobs.insertJob(this.#db, job);
      await this.#watchJobs();
    });
  }
  getJob(id: string) {
    return settle(() => jobs.getJobRecord(this.#db, id));
  }
  listJobs(page: Parameters<typeof jobs.listJobs>[1]) {
    return settle(() => jobs.listJobs(this.#db, page));
  }
  listEvents(page: Parameters<typeof jobs.listEvents>[1]) {
    return settle(() => jobs.listEvents(this.#db, page));
  }
  advanceJob(step: Parameters<typeof jobs.advanceJob>[1]) {
    return settle(() => jobs.advanceJob(this.#db, step));
  }
  recordDataSet(dataSet: jobs.DataSetRow) {
    return settle(() => jobs.recordDataSet(this.#db, dataSet));
  }
  recordCallback(callback: Parameters<typeof jobs.recordCallback>[1], now: Date) {
    return settle(() => jobs.recordCallback(this.#db, callback, now));
  }
  requestCancel(id: string, now: Date) {
    return settle(() => jobs.requestCancel(this.#db, id, now));
  }

  findVersion(id: string) {
    return settle(() => versions.findVersion(this.#db, id));
  }
  listVersions(page: Parameters<typeof versions.listVersions>[1]) {
    return settle(() => versions.listVersions(this.#db, page));
  }
  publishVersion(version: versions.VersionRow, reportSha256: string | null, now: Date) {
    return settle(() => versions.publishVersion(this.#db, version, reportSha256, now));
  }
  versionLineage(id: string, most: number) {
    return settle(() => versions.versionLineage(this.#db, id, most));
  }
  findAlias(key: versions.AliasKey) {
    return settle(() => versions.findAlias(this.#db, key));
  }
  listAliases() {
    return settle(() => versions.listAliases(this.#db));
  }
  moveAlias(move: versions.NewMove) {
    return settle(() => versions.moveAlias(this.#db, move));
  }
  rollBackAlias(move: Parameters<typeof versions.rollBackAlias>[1]) {
    return settle(() => versions.rollBackAlias(this.#db, move));
  }
  listAliasMoves(page: Parameters<typeof versions.listAliasMoves>[1]) {
    return settle(() => versions.listAliasMoves(this.#db, page));
  }
}
