import { parseJson } from "./manifest.ts";
import { readVerified, type VersionSource } from "./session.ts";
import { createTokenizer, tokenizerFileSchema, type Tokenizer } from "./tokenizer.ts";
import { GenerationConfig, ModelConfig, PreprocessorConfig } from "./version-config.ts";

/** A version's small files, parsed. */
export interface LoadedVersion {
  model: ModelConfig;
  generation: GenerationConfig;
  preprocessor: PreprocessorConfig;
  tokenizer: Tokenizer;
}

// Parsed tokenizers take about a megabyte each.
const keptVersions = 8;

/** Remembers the parsed files of the last few versions. */
export function createVersionCache(): { load(version: VersionSource): Promise<LoadedVersion> } {
  const loaded = new Map<string, LoadedVersion>();
  return {
    load: async (version) => {
      const known = loaded.get(version.manifestSha256);
      if (known) return known;
      const fresh = await readVersion(version);
      loaded.set(version.manifestSha256, fresh);
      const [oldest] = loaded.keys();
      if (loaded.size > keptVersions && oldest) loaded.delete(oldest);
      return fresh;
    },
  };
}

async function readVersion(version: VersionSource): Promise<LoadedVersion> {
  const [model, generation, preprocessor, tokenizer] = await Promise.all(
    ["config.json", "generation_config.json", "preprocessor_config.json", "tokenizer.json"].map((path) =>
      readVerified(version, path),
    ),
  );
  return {
    model: parseJson(model!, ModelConfig, "config.json"),
    generation: parseJson(generation!, GenerationConfig, "generation_config.json"),
    preprocessor: parseJson(preprocessor!, PreprocessorConfig, "preprocessor_config.json"),
    tokenizer: createTokenizer(parseJson(tokenizer!, tokenizerFileSchema, "tokenizer.json")),
  };
}
