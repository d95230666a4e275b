// The demonstration's figures: counted, printed as a table, written as HTML and JSON.
import type { GateCheck } from "./client.ts";
import type { Judgement, Picture } from "./scenes.ts";

export interface Change {
  before: number;
  after: number;
}

export interface Figures {
  approval: Change;
  facts_wrong: Change;
  facts_right: Change;
  left_out_per_caption: Change;
  grammatical: Change;
  hallucinated: Change;
  words_per_caption: Change;
}

export interface Example {
  picture: Picture;
  before: string;
  after: string;
  approvedBefore: boolean;
  approvedAfter: boolean;
}

function share<T>(items: T[], holds: (item: T) => boolean): number {
  return items.filter(holds).length / items.length;
}

function shareOfFacts(judged: Judgement[], pick: (item: Judgement) => number): number {
  const said = judged.reduce((sum, item) => sum + item.right + item.wrong, 0);
  return said === 0 ? 0 : judged.reduce((sum, item) => sum + pick(item), 0) / said;
}

/** Shares over held-out pictures; facts count in grammatical captions only. */
export function count(before: Judgement[], after: Judgement[], said: { before: string[]; after: string[] }): Figures {
  const both = (measure: (judged: Judgement[]) => number): Change => ({
    before: measure(before),
    after: measure(after),
  });
  const words = (captions: string[]) =>
    captions.reduce((sum, text) => sum + text.split(" ").length, 0) / captions.length;
  return {
    approval: both((judged) => share(judged, (item) => item.approved)),
    facts_wrong: both((judged) => shareOfFacts(judged, (item) => item.wrong)),
    facts_right: both((judged) => shareOfFacts(judged, (item) => item.right)),
    left_out_per_caption: both((judged) => judged.reduce((sum, item) => sum + item.leftOut, 0) / judged.length),
    grammatical: both((judged) => share(judged, (item) => item.grammatical)),
    hallucinated: both((judged) => share(judged, (item) => item.wrongKinds.length > 0)),
    words_per_caption: { before: words(said.before), after: words(said.after) },
  };
}

/** Kinds most often named although they are not in the picture. */
export function hallucinatedKinds(judged: Judgement[], most = 5): [string, number][] {
  const counts = new Map<string, number>();
  for (const kind of judged.flatMap((item) => item.wrongKinds)) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1]).slice(0, most);
}

const inPercent = new Set<keyof Figures>(["approval", "facts_wrong", "facts_right", "grammatical", "hallucinated"]);

function shown(name: keyof Figures, value: number): string {
  return inPercent.has(name) ? `${(value * 100).toFixed(1)} %` : value.toFixed(2);
}

export function table(figures: Figures): string {
  const rows = (Object.keys(figures) as (keyof Figures)[]).map((name) => {
    const { before, after } = figures[name];
    return `${name.replaceAll("_", " ").padEnd(22)} ${shown(name, before).padStart(9)} ${shown(name, after).padStart(9)}`;
  });
  return [`${"".padEnd(22)} ${"before".padStart(9)} ${"after".padStart(9)}`, ...rows].join("\n");
}

/** The gate's checks, a line each. */
export function gateTable(checks: GateCheck[]): string {
  return checks
    .map(
      ({ name, figure, limit, passed }) =>
        `${passed ? "ok  " : "NO  "} ${name.padEnd(22)} ${figure.toFixed(3).padStart(9)}  ${limit}`,
    )
    .join("\n");
}

function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");
}

/** One self-contained page: the figures and pictures with both captions. */
export function html(title: string, figures: Figures, seconds: Record<string, number>, examples: Example[]): string {
  const rows = (Object.keys(figures) as (keyof Figures)[])
    .map((name) => {
      const { before, after } = figures[name];
      return `<tr><th>${name.replaceAll("_", " ")}<td>${shown(name, before)}<td>${shown(name, after)}</tr>`;
    })
    .join("");
  const times = Object.entries(seconds)
    .map(([name, value]) => `<tr><th>${escape(name.replaceAll("_", " "))}<td>${value.toFixed(1)} s</tr>`)
    .join("");
  const mark = (approved: boolean) => (approved ? "👍" : "👎");
  const cards = examples
    .map(
      ({ picture, before, after, approvedBefore, approvedAfter }) =>
        `<figure><img alt="" src="data:image/jpeg;base64,${Buffer.from(picture.jpeg).toString("base64")}">` +
        `<figcaption><s>${mark(approvedBefore)} ${escape(before)}</s><br>${mark(approvedAfter)} ${escape(after)}</figcaption></figure>`,
    )
    .join("");
  const style =
    "body{font:16px/1.5 system-ui;margin:2rem auto;max-width:60rem;padding:0 1rem}table{border-collapse:collapse;margin:1rem 0}" +
    "td,th{padding:.2rem .8rem;border-bottom:1px solid #ccc;text-align:left}main{display:grid;grid-template-columns:repeat(auto-fill,minmax(14rem,1fr));gap:1rem}" +
    "figure{margin:0}img{width:100%;border-radius:8px}s{color:#777}";
  return (
    `<!doctype html><html lang="en"><meta charset="utf-8"><title>${escape(title)}</title><style>${style}</style>` +
    `<h1>${escape(title)}</h1><table><tr><th><th>before<th>after</tr>${rows}</table><table>${times}</table><main>${cards}</main></html>\n`
  );
}
