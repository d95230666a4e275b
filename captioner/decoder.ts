import { Tensor, type InferenceSession } from "onnxruntime-web/wasm";
import type { Continuations, Decoder } from "./beam-search.ts";
import { CaptionerError } from "./errors.ts";

/** The sizes that a graph declares itself. */
interface DecoderShape {
  layers: number;
  heads: number;
  headWidth: number;
  /** Tokens ranked by the graph; 0 when it has no such output. */
  rankedWidth: number;
}

/**
 * A merged ONNX decoder over one image's encoder states, with its key-value cache.
 *
 * The first step computes the cross-attention keys and values, [1, H, S, D]; all later ones share
 * them, whatever the number of captions N.
 */
export function createOnnxDecoder(session: InferenceSession, encoderHiddenStates: Tensor, vocabSize: number): Decoder {
  const shape = shapeOf(session);
  const layers = Array.from({ length: shape.layers }, (_, layer) => layer);
  const empty = (): Tensor => new Tensor("float32", new Float32Array(0), [1, shape.heads, 0, shape.headWidth]);
  let cross: Record<string, Tensor> | undefined;
  let self: Record<string, Tensor> | undefined;

  const step: Decoder["step"] = async (tokens, parents, width) => {
    const feeds: Record<string, Tensor> = {
      input_ids: new Tensor("int64", BigInt64Array.from(tokens, BigInt), [tokens.length, 1]),
      encoder_hidden_states: encoderHiddenStates,
      use_cache_branch: new Tensor("bool", [cross !== undefined], [1]),
    };
    for (const layer of layers) {
      for (const part of ["key", "value"]) {
        const past = self?.[`present.${layer}.decoder.${part}`];
        const input = `past_key_values.${layer}`;
        feeds[`${input}.decoder.${part}`] = past ? gatherRows(past, parents) : empty();
        feeds[`${input}.encoder.${part}`] = cross?.[`present.${layer}.encoder.${part}`] ?? empty();
      }
    }
    // Asking for `logits` only where the ranked outputs are too narrow saves a copy of [N, V].
    const wide = width > shape.rankedWidth && shape.rankedWidth < vocabSize;
    const outputs = wide ? ["logits"] : ["topk_logprobs", "topk_ids"];
    for (const layer of layers) {
      const parts = cross ? ["decoder"] : ["decoder", "encoder"];
      for (const part of parts) outputs.push(`present.${layer}.${part}.key`, `present.${layer}.${part}.value`);
    }
    const results = (await session.run(feeds, outputs)) as Record<string, Tensor>;
    self = results;
    cross ??= results;
    return wide ? rankLogits(results["logits"]!, width) : takeRanked(results, width);
  };
  return { vocabSize, step };
}

function shapeOf(session: InferenceSession): DecoderShape {
  const sizes = (all: readonly InferenceSession.ValueMetadata[], name: string): readonly unknown[] => {
    const found = all.find((value) => value.name === name);
    return found?.isTensor ? found.shape : [];
  };
  const [, heads, , headWidth] = sizes(session.inputMetadata, "past_key_values.0.decoder.key");
  const [, rankedWidth] = sizes(session.outputMetadata, "topk_ids");
  const layers = session.inputNames.filter((name) => name.endsWith(".decoder.key")).length;
  if (typeof heads !== "number" || typeof headWidth !== "number") {
    throw new CaptionerError("MODEL_INVALID", "the decoder does not declare its heads");
  }
  return { layers, heads, headWidth, rankedWidth: typeof rankedWidth === "number" ? rankedWidth : 0 };
}

/** [N, H, P, D] -> [N', H, P, D], row n' being row parents[n']. */
function gatherRows(past: Tensor, parents: readonly number[]): Tensor {
  const data = past.data;
  if (!(data instanceof Float32Array)) throw new CaptionerError("MODEL_INVALID", "the cache is not float32");
  const rows = past.dims[0]!;
  if (parents.length === rows && parents.every((parent, row) => parent === row)) return past;
  const size = data.length / rows;
  const gathered = new Float32Array(parents.length * size);
  parents.forEach((parent, row) => gathered.set(data.subarray(parent * size, (parent + 1) * size), row * size));
  return new Tensor("float32", gathered, [parents.length, ...past.dims.slice(1)]);
}

function takeRanked(results: Record<string, Tensor>, width: number): Continuations {
  const logps = results["topk_logprobs"]!.data;
  const tokens = results["topk_ids"]!.data;
  if (!(logps instanceof Float32Array) || !(tokens instanceof BigInt64Array)) {
    throw new CaptionerError("MODEL_INVALID", "topk_logprobs or topk_ids has another type");
  }
  const ranked = results["topk_ids"]!.dims[1]!;
  if (ranked < width) throw new CaptionerError("MODEL_INVALID", "topk_ids is narrower than announced");
  return { logps, tokens: Int32Array.from(tokens, Number), width: ranked };
}

/** The last position's log-softmax, its best `width` tokens: logits [N, 1, V] -> [N, width]. */
function rankLogits(logits: Tensor, width: number): Continuations {
  const values = logits.data;
  if (!(values instanceof Float32Array)) throw new CaptionerError("MODEL_INVALID", "logits are not float32");
  const [rows, vocab] = [logits.dims[0]!, logits.dims[2]!];
  const kept = Math.min(width, vocab);
  const next: Continuations = {
    logps: new Float32Array(rows * kept),
    tokens: new Int32Array(rows * kept),
    width: kept,
  };
  for (let row = 0; row < rows; row++) {
    const line = values.subarray(row * vocab, (row + 1) * vocab);
    const highest = line.reduce((max, value) => Math.max(max, value), -Infinity);
    const total = line.reduce((sum, value) => sum + Math.exp(value - highest), 0);
    const shift = highest + Math.log(total);
    const order = Array.from(line, (_, token) => token).sort((a, b) => line[b]! - line[a]! || a - b);
    order.slice(0, kept).forEach((token, i) => {
      next.logps[row * kept + i] = line[token]! - shift;
      next.tokens[row * kept + i] = token;
    });
  }
  return next;
}
