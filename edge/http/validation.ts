import type { z } from "zod";
import type { ProblemItem } from "../contract/shapes.ts";

type Issue = z.core.$ZodIssue;

/** Each fault that a schema found, with a pointer to it; `target` is the part of the request. */
export function itemsOf(error: z.ZodError, target: string): ProblemItem[] {
  return error.issues.flatMap((issue) => itemsOfIssue(issue, target)).slice(0, 50);
}

function itemsOfIssue(issue: Issue, target: string): ProblemItem[] {
  if (issue.code === "unrecognized_keys") {
    return issue.keys.map((key) => ({
      pointer: pointerTo(target, [...issue.path, key]),
      code: "unknown_field",
      detail: `${key.slice(0, 64)} is not a field of this request.`,
      fix: "Leave it out.",
    }));
  }
  const pointer = pointerTo(target, issue.path);
  const missing = issue.code === "invalid_type" && issue.input === undefined;
  const detail = `${pointer || "The body"}: ${missing ? "is missing" : lowerFirst(issue.message)}.`;
  return [{ pointer, code: missing ? "missing" : issue.code, detail, fix: fixOf(issue) }];
}

/** A JSON pointer (RFC 6901) for a body; `query/name`, `path/name` or `header/name` otherwise. */
function pointerTo(target: string, path: readonly PropertyKey[]): string {
  const steps = path.map((step) => String(step).replaceAll("~", "~0").replaceAll("/", "~1"));
  if (target === "json" || target === "form") return steps.map((step) => `/${step}`).join("");
  return [target === "param" ? "path" : target, ...steps].join("/");
}

function fixOf(issue: Issue): string {
  switch (issue.code) {
    case "invalid_type":
      return `Send a value of type ${issue.expected}.`;
    case "invalid_value":
      return `Use one of: ${issue.values.map(String).join(", ")}.`;
    case "too_small":
      return `Use at least ${issue.minimum}.`;
    case "too_big":
      return `Use at most ${issue.maximum}.`;
    case "invalid_format":
      return `Write it in the documented form (${issue.format}).`;
    case "invalid_union": {
      const ways = "options" in issue ? [`Use one of: ${issue.options.map(String).join(", ")}.`] : [];
      return [...ways, ...issue.errors.flatMap((branch) => branch.map(fixOf))].join(" Or: ");
    }
    default:
      return "See /docs for what this field takes.";
  }
}

function lowerFirst(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1);
}
