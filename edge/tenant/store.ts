import { DurableObject } from "cloudflare:workers";
import { drizzle, type DrizzleSqliteDODatabase } from "drizzle-orm/durable-sqlite";
import { migrate } from "drizzle-orm/durable-sqlite/migrator";
import migrations from "../../db/migrations/tenant/migrations.js";
import { readEnv } from "../env.ts";
import { imageKey } from "../services/images.ts";
import * as captions from "./captions.ts";
import * as feedback from "./feedback.ts";
import * as idempotency from "./idempotency.ts";
import { settle } from "./result.ts";

export type TenantDatabase = DrizzleSqliteDODatabase;

/** One tenant's records. Calls run one at a time; each is one query file's function, settled. */
export class TenantStore extends DurableObject<Cloudflare.Env> {
  readonly #db: TenantDatabase;

  constructor(ctx: DurableObjectState, bindings: Cloudflare.Env) {
    super(ctx, bindings);
    this.#db = drizzle(ctx.storage);
    void ctx.blockConcurrencyWhile(() => migrate(this.#db, migrations));
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
}
