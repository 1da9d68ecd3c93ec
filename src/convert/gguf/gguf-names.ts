const globalNames: ReadonlyMap<string, string> = new Map([
  ["model.embed_tokens", "token_embd"],
  ["model.norm", "output_norm"],
  ["lm_head", "output"],
]);
const layerNames: ReadonlyMap<string, string> = new Map([
  ["input_layernorm", "attn_norm"],
  ["self_attn.q_proj", "attn_q"],
  ["self_attn.k_proj", "attn_k"],
  ["self_attn.v_proj", "attn_v"],
  ["self_attn.o_proj", "attn_output"],
  ["post_attention_layernorm", "ffn_norm"],
  ["mlp.gate_proj", "ffn_gate"],
  ["mlp.up_proj", "ffn_up"],
  ["mlp.down_proj", "ffn_down"],
]);

/** Factors of the rotary frequencies, where a model has them; not among the weights. */
export const ropeFactorsName = "rope_freqs.weight";

/** What llama.cpp calls a tensor that llama-tensors.ts names as Hugging Face does. */
export function ggufName(name: string): string {
  const [, stem = "", kind = ""] = /^(.*)\.(weight|bias)$/.exec(name) ?? [];
  const global = globalNames.get(stem);
  if (global !== undefined) return `${global}.${kind}`;
  const [, layer = "", part = ""] = /^model\.layers\.(\d+)\.(.*)$/.exec(stem) ?? [];
  const own = layerNames.get(part);
  if (own === undefined) throw new Error(`${name} has no name in a GGUF file`);
  return `blk.${layer}.${own}.${kind}`;
}
