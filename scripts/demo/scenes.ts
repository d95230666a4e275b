// Pictures to caption, and the judge of captions: the Python package's own commands.
import { spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";

const python = ".venv/bin/python";

export interface Picture {
  file: string;
  jpeg: Uint8Array;
}

/** What the checker found in one caption. */
export interface Judgement {
  grammatical: boolean;
  approved: boolean;
  right: number;
  wrong: number;
  leftOut: number;
  wrongKinds: string[];
}

async function run(args: string[], input = ""): Promise<string> {
  const child = spawn(python, ["-m", "dico", ...args], { stdio: ["pipe", "pipe", "pipe"] });
  let output = "";
  let errors = "";
  child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (errors += chunk.toString()));
  child.stdin.end(input);
  const status = await new Promise<number | null>((resolve) => child.on("close", resolve));
  if (status !== 0) throw new Error(`python -m dico ${args[0]}: ${errors.slice(-500)}`);
  return output;
}

/** Draws scenes as JPEG files into a folder, in the art styles that the base model was trained on. */
export async function drawPictures(folder: string, count: number, firstSeed: number): Promise<Picture[]> {
  await run(["scenes", "--count", String(count), "--seed", String(firstSeed), "--style", "trained", "--out", folder]);
  const { pictures } = JSON.parse(await readFile(join(folder, "captions.json"), "utf8")) as {
    pictures: { file: string }[];
  };
  return Promise.all(pictures.map(async ({ file }) => ({ file, jpeg: await readFile(join(folder, file)) })));
}

interface CheckLine {
  grammatical: boolean;
  approved: boolean;
  facts: { right: boolean }[];
  left_out: string[];
  wrong_kinds: string[];
}

/** Judges one caption for each picture of a folder, in order. */
export async function judge(folder: string, captions: string[], taste: string): Promise<Judgement[]> {
  const lines = captions.map((caption, index) => JSON.stringify({ index, caption })).join("\n");
  const args = ["check", "--scenes", join(folder, "captions.json"), "--captions", "-", "--taste", taste];
  const output = await run(args, `${lines}\n`);
  return output
    .trim()
    .split("\n")
    .map((line) => {
      const found = JSON.parse(line) as CheckLine;
      const right = found.facts.filter((fact) => fact.right).length;
      return {
        grammatical: found.grammatical,
        approved: found.approved,
        right,
        wrong: found.facts.length - right,
        leftOut: found.left_out.length,
        wrongKinds: found.wrong_kinds,
      };
    });
}
