import { ToastError } from "../errors.js";
import type { LlamaConfig } from "./llama-config.js";
import type { SafetensorsReader, TensorInfo } from "./safetensors-reader.js";

/** Every tensor that a decoder of this shape reads, under Hugging Face's names, with its shape. */
export function llamaTensors(config: LlamaConfig): ReadonlyMap<string, readonly number[]> {
  const { hiddenSize, intermediateSize, vocabSize } = config;
  const querySize = config.heads * config.headDim;
  const kvSize = config.kvHeads * config.headDim;
  const shapes = new Map<string, readonly number[]>();
  const linear = (name: string, outSize: number, inSize: number, bias: boolean): void => {
    shapes.set(`${name}.weight`, [outSize, inSize]);
    if (bias) shapes.set(`${name}.bias`, [outSize]);
  };
  shapes.set("model.embed_tokens.weight", [vocabSize, hiddenSize]);
  for (let layer = 0; layer < config.layers; layer++) {
    const prefix = `model.layers.${layer}`;
    shapes.set(`${prefix}.input_layernorm.weight`, [hiddenSize]);
    linear(`${prefix}.self_attn.q_proj`, querySize, hiddenSize, config.attentionBias);
    linear(`${prefix}.self_attn.k_proj`, kvSize, hiddenSize, config.attentionBias);
    linear(`${prefix}.self_attn.v_proj`, kvSize, hiddenSize, config.attentionBias);
    linear(`${prefix}.self_attn.o_proj`, hiddenSize, querySize, config.attentionBias);
    shapes.set(`${prefix}.post_attention_layernorm.weight`, [hiddenSize]);
    linear(`${prefix}.mlp.gate_proj`, intermediateSize, hiddenSize, config.mlpBias);
    linear(`${prefix}.mlp.up_proj`, intermediateSize, hiddenSize, config.mlpBias);
    linear(`${prefix}.mlp.down_proj`, hiddenSize, intermediateSize, config.mlpBias);
  }
  shapes.set("model.norm.weight", [hiddenSize]);
  if (!config.tiedEmbeddings) shapes.set("lm_head.weight", [vocabSize, hiddenSize]);
  return shapes;
}

/**
 * Checks that the source holds exactly the tensors that the decoder computes with. One too many means that the model
 * does something that this graph would leave out (a bias, a query norm), so it is refused as well.
 * @throws ToastError `missing_tensor`, `misshapen_tensor`, `unsupported_architecture`
 */
export function checkLlamaTensors(config: LlamaConfig, source: SafetensorsReader): void {
  const shapes = llamaTensors(config);
  for (const [name, shape] of shapes) source.expect(name, shape);
  for (const { name: stored, file } of source.tensors) {
    const name = source.plainName(stored);
    const isKnown = shapes.has(name) || (config.tiedEmbeddings && name === "lm_head.weight") || isRotaryBuffer(name);
    if (!isKnown) {
      throw new ToastError(
        "unsupported_architecture",
        `${file}: tensor ${stored} has no place in a LLaMA decoder as config.json describes it.`,
      );
    }
  }
}

/**
 * The configuration that fits the weights: where it says that the head is the embedding table and the file has a head
 * that differs, the file has the last word, as in transformers.
 */
export async function withHeadOfFile(config: LlamaConfig, source: SafetensorsReader): Promise<LlamaConfig> {
  if (!config.tiedEmbeddings) return config;
  const head = source.find("lm_head.weight");
  const table = source.find("model.embed_tokens.weight");
  if (head === undefined || table === undefined) return config;
  return (await sameBytes(source, head, table)) ? config : { ...config, tiedEmbeddings: false };
}

async function sameBytes(source: SafetensorsReader, one: TensorInfo, other: TensorInfo): Promise<boolean> {
  if (one.dtype !== other.dtype || one.bytes !== other.bytes) return false;
  const others = source.rawChunks(other);
  for await (const chunk of source.rawChunks(one)) {
    const { value } = await others.next();
    if (value === undefined || Buffer.compare(chunk, value) !== 0) return false;
  }
  return true;
}

/** Saved by old versions of the training library; computed here. */
function isRotaryBuffer(name: string): boolean {
  return name.endsWith("rotary_emb.inv_freq");
}
