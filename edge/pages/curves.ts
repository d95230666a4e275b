// Curves as inline SVG, each with a scale of its own.
import { html } from "hono/html";
import type { ReportCurves } from "../contract/report.ts";

const [width, height, margin] = [260, 90, 4];

/** A small picture for each series; nothing where there are no steps. */
export function curveFigures({ steps, series }: ReportCurves) {
  return Object.entries(series)
    .filter(([, values]) => values.length > 0)
    .map(([name, values]) => {
      const [low, high] = rangeOf(values);
      const [first = 0, last = 0] = [steps[0], steps.at(-1)];
      const points = values.map((value, i) => {
        const x = margin + (width - 2 * margin) * fraction(steps[i] ?? 0, first, last);
        const y = margin + (height - 2 * margin) * (1 - fraction(value, low, high));
        return `${x.toFixed(1)},${y.toFixed(1)}`;
      });
      // A line of one point would not be seen.
      const line = points.length === 1 ? [...points, `${width - margin},${points[0]?.split(",")[1]}`] : points;
      return html`<figure>
        <figcaption>${name.replaceAll("_", " ")}</figcaption>
        <svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${name}, ${short(low)} to ${short(high)}">
          <polyline points="${line.join(" ")}" />
        </svg>
        <small>${short(low)} to ${short(high)}; steps ${first} to ${last}; last ${short(values.at(-1) ?? 0)}</small>
      </figure>`;
    });
}

function rangeOf(values: number[]): [number, number] {
  return values.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [Infinity, -Infinity]);
}

/** How far a value lies from the low end to the high one; in the middle where they are one. */
function fraction(value: number, low: number, high: number): number {
  return high > low ? (value - low) / (high - low) : 0.5;
}

function short(value: number): string {
  return String(Number(value.toPrecision(3)));
}
