// Which words of a caption another one does not have.

/** A word, and whether the other caption lacks it at its place. */
export interface Word {
  text: string;
  changed: boolean;
}

/** Marks in both captions the words outside their longest common subsequence. */
export function compareWords(before: string, after: string): { before: Word[]; after: Word[] } {
  const [a, b] = [wordsOf(before), wordsOf(after)];
  const columns = b.length + 1;
  // common[i * columns + j]: the most words that a from i on and b from j on share in order.
  const common = new Uint16Array((a.length + 1) * columns);
  const at = (i: number, j: number): number => common[i * columns + j] ?? 0;
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      common[i * columns + j] = a[i] === b[j] ? at(i + 1, j + 1) + 1 : Math.max(at(i + 1, j), at(i, j + 1));
    }
  }
  const compared: { before: Word[]; after: Word[] } = { before: [], after: [] };
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    const [left, right] = [a[i], b[j]];
    const same = left !== undefined && left === right;
    if (left !== undefined && (same || right === undefined || at(i + 1, j) >= at(i, j + 1))) {
      compared.before.push({ text: left, changed: !same });
      i++;
      if (!same) continue;
    }
    if (right !== undefined) {
      compared.after.push({ text: right, changed: !same });
      j++;
    }
  }
  return compared;
}

function wordsOf(caption: string): string[] {
  return caption.split(/\s+/).filter((word) => word !== "");
}
