// The learning report as a page: no script, nothing loaded, every word of it escaped by `html`.
import { html } from "hono/html";
import type { JobReport, ReportPicture } from "../contract/report.ts";
import { curveFigures } from "./curves.ts";
import { compareWords, type Word } from "./words.ts";

/** The page's Content-Security-Policy: pictures are data, styles are its own, all else is barred. */
export const reportPolicy =
  "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const style = `
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { padding: .25rem .8rem .25rem 0; border-bottom: 1px solid #ccc; text-align: left; vertical-align: top; }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); gap: 1.2rem; }
figure { margin: 0; } img { width: 100%; border-radius: 6px; } svg { width: 100%; background: #f5f5f5; }
polyline { fill: none; stroke: #06c; stroke-width: 1.5; }
p { margin: .3rem 0; } small, .old { color: #666; }
del { background: #fdd; text-decoration: none; } ins { background: #dfd; text-decoration: none; }
.no { color: #b00; font-weight: bold; }
`;

/** The whole report for people. */
export function reportPage(report: JobReport) {
  const { learning, gate } = report;
  const { evaluation } = learning;
  return html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <title>Learning report of ${report.job}</title>
        <style>
          ${style}
        </style>
      </head>
      <body>
        <h1>What the job learnt</h1>
        <p>
          ${report.job}, model ${report.model}:
          <strong class="${report.status === "succeeded" ? "" : "no"}">${report.status}</strong>
        </p>
        ${ending(report)}
        ${section("Pictures, before and after", learning.pictures.length > 0 && html`<div class="grid">${learning.pictures.map(picture)}</div>`)}
        ${section(
          "What decided",
          gate &&
            table(
              ["check", "figure", "limit", "passed", "what it means"],
              gate.checks.map((check) => [
                check.name,
                short(check.figure),
                check.limit,
                check.passed ? "yes" : html`<span class="no">no</span>`,
                check.sentence,
              ]),
            ),
        )}
        ${section("Curves", html`<div class="grid">${curveFigures(learning.curves)}</div>`)}
        ${section("What was learnt from", counts(report))}
        ${section(
          "Viewers",
          evaluation &&
            evaluation.end_users.length > 0 &&
            table(
              ["viewer", "thumbs", "agreement with the others", "weight in training"],
              evaluation.end_users.map((user) => [
                user.end_user || "(without a name)",
                user.thumbs,
                percent(user.agreement),
                percent(user.weight),
              ]),
            ),
        )}
        ${section(
          "What the image-text judge overlooks",
          evaluation &&
            evaluation.blind_spots.length > 0 &&
            table(
              ["kind of error", "told from the truth in"],
              evaluation.blind_spots.map(({ error, right }) => [error, `${percent(right)} of pairs`]),
            ),
        )}
        ${section(
          "Warnings",
          evaluation &&
            evaluation.warnings.length > 0 &&
            html`<ul>
              ${evaluation.warnings.map((text) => html`<li>${text}</li>`)}
            </ul>`,
        )}
        ${section(
          "Time",
          table(
            ["phase", "seconds"],
            learning.phases.map(({ name, seconds }) => [name, seconds.toFixed(1)]),
          ),
        )}
        ${section("Settings", table(["setting", "value"], [["method", report.method.type], ...Object.entries(learning.settings).map(([name, value]) => [name, String(value)])]))}
        ${section(
          "Where it comes from",
          table(
            ["", "version"],
            [
              ["trained from the base", report.lineage.base_version],
              ["served when the job was made", report.lineage.parent_version],
              ["made by the job", report.lineage.version ?? "none"],
            ],
          ),
        )}
      </body>
    </html>`;
}

type Markup = ReturnType<typeof html>;

function ending({ status_reason: reason, contradicting_end_users: endUsers }: JobReport) {
  if (!reason) return "";
  return html`<p>${reason.code}: ${reason.message}</p>
    ${
      reason.help.length > 0
        ? html`<p>What would help:</p>
            <ul>
              ${reason.help.map((text) => html`<li>${text}</li>`)}
            </ul>`
        : ""
    }
    ${endUsers.length > 0 ? html`<p>Viewers whose thumbs contradict each other or themselves: ${endUsers.join(", ")}</p>` : ""}`;
}

function picture(shown: ReportPicture) {
  const { before, after } = compareWords(shown.before, shown.after);
  const thumb = shown.rating && (shown.rating === "up" ? "👍" : "👎");
  return html`<figure>
    <img alt="" src="${shown.thumbnail}" />
    <figcaption>
      <p class="old">
        ${thumb} ${before.map((word) => mark(word, "before"))}
        <small>${percent(shown.predicted_before)} expected to like it</small>
      </p>
      <p>${after.map((word) => mark(word, "after"))} <small>${percent(shown.predicted_after)}</small></p>
      ${shown.correction === null ? "" : html`<p><small>A viewer wrote: ${shown.correction}</small></p>`}
    </figcaption>
  </figure>`;
}

function mark({ text, changed }: Word, side: "before" | "after") {
  if (!changed) return html`${text} `;
  return side === "before" ? html`<del>${text}</del> ` : html`<ins>${text}</ins> `;
}

function counts({ learning: { data }, data_set }: JobReport) {
  const { dropped, ...figures } = data;
  const left = [...(data_set?.dropped ?? []), ...dropped];
  return html`${table(
    ["", "count"],
    Object.entries(figures).map(([name, value]) => [name.replaceAll("_", " "), short(value)]),
  )}
  ${
    left.length > 0
      ? html`<h3>Left out</h3>
          ${table(
            ["why", "count"],
            left.map(({ reason, count }) => [reason.replaceAll("_", " "), count]),
          )}`
      : ""
  }
  ${
    data_set
      ? html`<h3>Thumbs by the version whose captions they are about</h3>
          ${table(["version", "thumbs"], Object.entries(data_set.counts.by_version))}`
      : ""
  }`;
}

/** A heading and what is below it; nothing where there is nothing below. */
function section(title: string, content: Markup | null | false) {
  return content
    ? html`<h2>${title}</h2>
        ${content}`
    : "";
}

function table(heads: string[], rows: (string | number | Markup)[][]): Markup {
  return html`<table>
    <tr>
      ${heads.map((head) => html`<th>${head}</th>`)}
    </tr>
    ${rows.map(
      (row) =>
        html`<tr>
          ${row.map((cell) => html`<td>${cell}</td>`)}
        </tr>`,
    )}
  </table>`;
}

function percent(share: number): string {
  return `${(100 * share).toFixed(0)} %`;
}

function short(value: number): string {
  return String(Number(value.toFixed(3)));
}
