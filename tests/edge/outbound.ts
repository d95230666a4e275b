// The internet as the tests' Worker sees it: runs in Node, behind the Worker's every fetch.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { trainer } from "./fine-tune/trainer-service.ts";

const probe = readFileSync(join(import.meta.dirname, "../fixtures/tiny-version/probe.png"));

/** What names resolve to; others do not exist. */
const addresses: Record<string, string[]> = {
  "images.example.org": ["93.184.216.34"],
  "private.example.org": ["10.1.2.3"],
  "mixed.example.org": ["93.184.216.34", "169.254.169.254"],
};

/** What https://images.example.org/… answers. */
const images: Record<string, () => Response> = {
  "/probe.png": () => new Response(probe, { headers: { "content-type": "image/png" } }),
  "/moved": () => redirect("/probe.png"),
  "/to-private": () => redirect("https://private.example.org/probe.png"),
  "/to-metadata": () => redirect("https://169.254.169.254/latest/meta-data"),
  "/to-http": () => redirect("http://images.example.org/probe.png"),
  "/loop": () => redirect("/loop"),
  "/nowhere": () => redirect("https://"),
  "/gone": () => new Response("gone", { status: 410 }),
  "/text": () => new Response("this is not an image"),
  "/long": () => new Response(manyMegabytes(40)),
  "/declared-huge": () => new Response("", { headers: { "content-length": "99999999999" } }),
};

/** Answers a fetch of the Worker. */
export function outbound(request: Request): Response | Promise<Response> {
  const url = new URL(request.url);
  if (url.hostname === "cloudflare-dns.com") return resolve(url);
  if (url.hostname === "trainer.example.org") return trainer(request);
  if (url.hostname === "images.example.org") return images[url.pathname]?.() ?? new Response("", { status: 404 });
  return new Response(`the tests have no ${url.hostname}`, { status: 599 });
}

function redirect(location: string): Response {
  return new Response(null, { status: 302, headers: { location } });
}

/** DNS over HTTPS in JSON, which workerd's node:dns asks for. */
function resolve(url: URL): Response {
  const name = url.searchParams.get("name") ?? "";
  const found = url.searchParams.get("type") === "A" ? (addresses[name] ?? []) : [];
  const answer = found.map((data) => ({ name, type: 1, TTL: 60, data }));
  const body = { Status: addresses[name] ? 0 : 3, TC: false, RD: true, RA: true, AD: false, CD: false };
  return Response.json({ ...body, Question: [{ name, type: 1 }], Answer: answer });
}

/** Says not how long it is. */
function manyMegabytes(count: number): ReadableStream<Uint8Array> {
  let left = count;
  return new ReadableStream({
    pull: (controller) => (left-- > 0 ? controller.enqueue(new Uint8Array(1_000_000)) : controller.close()),
  });
}
