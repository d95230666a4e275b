import type { MiddlewareHandler } from "hono";
import { eq } from "drizzle-orm";
import { tenants } from "../../db/directory.ts";
import { idPrefixes } from "../contract/ids.ts";
import type { Tenant } from "../tenant/client.ts";
import { isActive, type DataSetRow, type JobRow } from "../tenant/jobs.ts";
import { bearerOf } from "./auth.ts";
import type { AppEnv } from "./context.ts";
import { ApiError } from "./errors.ts";
import { equalSecrets } from "./secrets.ts";

/** The job whose token a request carries. */
export interface JobCaller {
  tenantId: string;
  tenant: Tenant;
  job: JobRow;
  dataSet: DataSetRow | null;
}

export interface JobEnv {
  Bindings: Cloudflare.Env;
  Variables: AppEnv["Variables"] & { jobCaller: JobCaller };
}

const tokenForm = /^dicojob_([0-9a-z]{26})_[A-Za-z0-9_-]{43}$/;

/**
 * Lets the GPU worker pass with the token of the job in the address.
 *
 * @throws UNAUTHENTICATED | JOB_ENDED unless `evenEnded`
 */
export function requireJob({ evenEnded = false } = {}): MiddlewareHandler<JobEnv> {
  return async (c, next) => {
    const { deps } = c.var;
    const jobCaller = await findJob(bearerOf(c.req.header("authorization")));
    if (!jobCaller) throw new ApiError("UNAUTHENTICATED", "Send this job's token as `Authorization: Bearer …`.");
    if (!evenEnded && !isActive(jobCaller.job)) {
      throw new ApiError("JOB_ENDED", `The job has ended: it is ${jobCaller.job.status}.`);
    }
    c.set("jobCaller", jobCaller);
    await next();

    async function findJob(token: string): Promise<JobCaller | undefined> {
      const [, suffix] = tokenForm.exec(token) ?? [];
      if (!suffix) return undefined;
      const tenantId = idPrefixes.tenant + suffix;
      // Opening the store of a tenant makes it, so only one that exists is opened.
      const [known] = await deps.directory.select({ id: tenants.id }).from(tenants).where(eq(tenants.id, tenantId));
      if (!known) return undefined;
      const tenant = deps.openTenant(tenantId);
      try {
        const { job, dataSet } = await tenant.getJob(c.req.param("job_id") ?? "");
        return (await equalSecrets(token, job.token)) ? { tenantId, tenant, job, dataSet } : undefined;
      } catch (error) {
        if (error instanceof ApiError && error.code === "JOB_NOT_FOUND") return undefined;
        throw error;
      }
    }
  };
}
