// The edge's own gate for the benchmark: an Evaluation as JSON on stdin, its Gate on stdout.
import { text } from "node:stream/consumers";
import { Evaluation } from "../../edge/contract/trainer.ts";
import { judge } from "../../edge/fine-tune/gate.ts";

console.log(JSON.stringify(judge(Evaluation.parse(JSON.parse(await text(process.stdin))))));
