import { readAtMost } from "../http/body.ts";
import type { Deps } from "../http/context.ts";
import { ApiError } from "../http/errors.ts";
import { isPublicAddress } from "./public-address.ts";

const maxRedirects = 3;
const timeoutMilliseconds = 10_000;

/**
 * Fetches an image that a caller names by address: https, public hosts only, again after each redirect.
 *
 * @throws IMAGE_URL_REFUSED | IMAGE_URL_UNREACHABLE | IMAGE_TOO_LARGE
 */
export async function fetchImage(
  deps: Pick<Deps, "fetch" | "resolveHost">,
  address: string,
  maxBytes: number,
): Promise<Uint8Array<ArrayBuffer>> {
  const signal = AbortSignal.timeout(timeoutMilliseconds);
  let url = new URL(address);
  for (let redirects = 0; ; redirects++) {
    await requirePublic(deps, url);
    const response = await reach(() =>
      deps.fetch(url.href, { redirect: "manual", signal, headers: { accept: "image/*" } }),
    );
    const location = response.headers.get("location");
    if (response.status >= 300 && response.status < 400 && location) {
      await response.body?.cancel();
      if (redirects === maxRedirects) throw new ApiError("IMAGE_URL_REFUSED", `More than ${maxRedirects} redirects.`);
      const next = URL.parse(location, url.href);
      if (!next) throw new ApiError("IMAGE_URL_REFUSED", "The address redirects to none.");
      url = next;
      continue;
    }
    if (response.status !== 200 || !response.body) {
      await response.body?.cancel();
      throw new ApiError("IMAGE_URL_UNREACHABLE", `The image's host answered ${response.status}.`);
    }
    const { body, headers } = response;
    const bytes = await reach(() => readAtMost(body, maxBytes, headers.get("content-length")));
    if (!bytes) throw new ApiError("IMAGE_TOO_LARGE", `The image may have at most ${maxBytes} bytes.`);
    return bytes;
  }
}

/**
 * A name may resolve anew between this check and the fetch; Cloudflare's network reaches no private
 * address then either, and workerd elsewhere should run behind a firewall that does not.
 *
 * @throws IMAGE_URL_REFUSED | IMAGE_URL_UNREACHABLE
 */
async function requirePublic(deps: Pick<Deps, "resolveHost">, url: URL): Promise<void> {
  const refuse = (detail: string): ApiError => new ApiError("IMAGE_URL_REFUSED", detail);
  if (url.protocol !== "https:") throw refuse("The address must begin with https.");
  if (url.port !== "") throw refuse("The address may name no port but 443.");
  if (url.username !== "" || url.password !== "") throw refuse("The address may hold no credentials.");
  const host = url.hostname.replace(/^\[|\]$/g, "").replace(/\.$/, "");
  const isLiteral = host.includes(":") || /^[\d.]+$/.test(host);
  if (!isLiteral && !/\.[a-z][a-z0-9-]*$/i.test(host)) throw refuse("The host is not a public name.");
  const addresses = isLiteral ? [host] : await reach(() => deps.resolveHost(host));
  if (addresses.length === 0) throw new ApiError("IMAGE_URL_UNREACHABLE", "The image's host has no address.");
  if (!addresses.every(isPublicAddress)) throw refuse("The host has an address that is not public.");
}

async function reach<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw new ApiError("IMAGE_URL_UNREACHABLE", "The image's host could not be reached in time.", { cause: error });
  }
}
