import { Validator } from "@cfworker/json-schema";
import { parse } from "yaml";
import openapiYaml from "../../openapi.yaml";

interface MediaType {
  schema?: object;
}
interface Operation {
  operationId: string;
  security?: Record<string, string[]>[];
  responses: Record<string, { content?: Record<string, MediaType> }>;
}

/** An operation of openapi.yaml. */
export interface DescribedOperation extends Operation {
  method: string;
  path: string;
}

const description = parse(openapiYaml) as {
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, object> };
};

export const operations: DescribedOperation[] = Object.entries(description.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({ ...operation, method: method.toUpperCase(), path })),
);

/** All (operation, status) that openapi.yaml promises. */
export const promised: string[] = operations.flatMap((operation) =>
  Object.keys(operation.responses)
    .filter((status) => status !== "default")
    .map((status) => `${operation.operationId} ${status}`),
);

/** All (operation, status) that a test has seen. */
export const seen = new Set<string>();

/**
 * Checks an answer against openapi.yaml and notes that it was seen.
 *
 * @returns What is wrong with it; empty where nothing is.
 */
export async function checkAnswer(method: string, pathname: string, response: Response): Promise<string[]> {
  const operation = findOperation(method, pathname);
  const where = `${method} ${pathname} -> ${response.status}`;
  if (!operation) {
    if (response.status === 404 || response.status === 405) return faultsOf("Problem", await response.json(), where);
    return [`${where}: no such operation in openapi.yaml`];
  }
  const promise = operation.responses[String(response.status)];
  if (!promise) return [`${where}: ${operation.operationId} promises no ${response.status}: ${await response.text()}`];
  seen.add(`${operation.operationId} ${response.status}`);
  if (!promise.content) return response.body && (await response.text()) !== "" ? [`${where}: promised no body`] : [];
  const [mediaType = ""] = (response.headers.get("content-type") ?? "").split(";", 1);
  const described = promise.content[mediaType] ?? promise.content["*/*"];
  if (!described) return [`${where}: promised no ${mediaType || "body without a type"}`];
  if (!mediaType.endsWith("json") || !described.schema) return [];
  return faultsOf(described.schema, await response.json(), where);
}

const cache = new Map<string, Validator>();

function faultsOf(schema: object | string, body: unknown, where: string): string[] {
  const root = typeof schema === "string" ? { $ref: `#/components/schemas/${schema}` } : schema;
  const text = JSON.stringify({ ...root, $defs: description.components.schemas });
  const known = cache.get(text);
  const validator =
    known ?? new Validator(JSON.parse(text.replaceAll("#/components/schemas/", "#/$defs/")), "2020-12", false);
  cache.set(text, validator);
  const { valid, errors } = validator.validate(body);
  return valid ? [] : errors.map((error) => `${where}${error.instanceLocation}: ${error.error}`);
}

function findOperation(method: string, pathname: string): DescribedOperation | undefined {
  const steps = pathname.split("/");
  const matches = operations.filter((operation) => {
    const pattern = operation.path.split("/");
    if (operation.method !== (method === "HEAD" && !hasHead(operation.path) ? "GET" : method)) return false;
    const open = pattern.at(-1)?.endsWith("+}") || operation.path.endsWith("{path}");
    if (open ? steps.length < pattern.length : steps.length !== pattern.length) return false;
    return pattern.every((step, i) => step.startsWith("{") || step === steps[i]);
  });
  // The one with the fewest holes: /v1/feedback before /v1/{anything}.
  return matches.sort((a, b) => a.path.split("{").length - b.path.split("{").length)[0];
}

function hasHead(path: string): boolean {
  return operations.some((operation) => operation.path === path && operation.method === "HEAD");
}
