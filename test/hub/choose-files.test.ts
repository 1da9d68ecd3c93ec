import { describe, expect, it } from "vitest";
import { chooseFiles, weightsOfIndex } from "../../src/hub/choose-files.js";

const files = (...paths: readonly string[]) => paths.map((path, at) => ({ path, bytes: 1_000_000 * (at + 1) }));
const folder = ["config.json", "tokenizer.json"];

function chosen(paths: readonly string[], wanted: string | null = null) {
  const choice = chooseFiles("org/name", files(...paths), wanted);
  return { kind: choice.kind, weights: choice.weights.map(({ path }) => path) };
}

describe("of a repository", () => {
  it("safetensors are taken before GGUF, the index before a single file", () => {
    expect(chosen([...folder, "model.safetensors", "x-Q4_0.gguf"])).toEqual({
      kind: "safetensors",
      weights: ["model.safetensors"],
    });
    const choice = chooseFiles("org/name", files(...folder, "model.safetensors", "model.safetensors.index.json"), null);
    expect(choice).toMatchObject({ kind: "safetensors", index: { path: "model.safetensors.index.json" }, weights: [] });
  });

  it("what describes the model is taken, at the top only", () => {
    const beside = ["generation_config.json", "chat_template.jinja", "README.md", "LICENSE.txt", "USE_POLICY.md"];
    const others = ["training_args.bin", "original/config.json", "optimizer.pt", "tokenizer.model", "run.py"];
    const choice = chooseFiles("org/name", files(...folder, ...beside, ...others, "model.safetensors"), null);
    expect(choice.descriptions.map(({ path }) => path)).toEqual([...folder, ...beside]);
  });

  it("the only GGUF is taken, not counting what is no model", () => {
    const paths = ["README.md", "x-Q4_0.gguf", "mmproj-x-f16.gguf", "x.imatrix.gguf"];
    expect(chosen(paths)).toEqual({ kind: "gguf", weights: ["x-Q4_0.gguf"] });
  });

  it.each([
    ["x-Q4_K_M.gguf", ["x-Q4_K_M.gguf"]],
    ["q4_k_m", ["x-Q4_K_M.gguf"]],
    ["Q4_K", ["x-Q4_K.gguf"]],
    ["big/x-Q8_0-00001-of-00002.gguf", ["big/x-Q8_0-00001-of-00002.gguf", "big/x-Q8_0-00002-of-00002.gguf"]],
    ["x-Q8_0-00002-of-00002.gguf", ["big/x-Q8_0-00001-of-00002.gguf", "big/x-Q8_0-00002-of-00002.gguf"]],
    ["Q8_0", ["big/x-Q8_0-00001-of-00002.gguf", "big/x-Q8_0-00002-of-00002.gguf"]],
  ])("a GGUF is found by path, name or quantization: %s", (wanted, weights) => {
    const paths = ["x-Q4_K_M.gguf", "x-Q4_K.gguf", "big/x-Q8_0-00002-of-00002.gguf", "big/x-Q8_0-00001-of-00002.gguf"];
    expect(chosen([...folder, "model.safetensors", ...paths], wanted)).toEqual({ kind: "gguf", weights });
  });

  it("several GGUF files are listed with their sizes, and how to say which", () => {
    expect(() =>
      chosen(["x-Q4_0.gguf", "x-Q8_0.gguf", "f16/x-00001-of-00002.gguf", "f16/x-00002-of-00002.gguf"]),
    ).toThrow(
      `org/name has 3 GGUF files; say which:
  x-Q4_0.gguf                  1.0 MB
  x-Q8_0.gguf                  2.0 MB
  f16/x-00001-of-00002.gguf    7.0 MB  in 2 parts
for example: toast-serve pull org/name x-Q8_0.gguf
         or: toast-serve serve --model org/name/x-Q8_0.gguf`,
    );
  });

  it.each([
    [
      ["config.json", "pytorch_model.bin"],
      null,
      /has its weights as pickles only \(pytorch_model\.bin\)\. Reading one can run any code/,
    ],
    [["README.md"], null, /has nothing that can be served: neither config\.json with model\.safetensors/],
    [["adapter_config.json", "adapter_model.safetensors"], null, /It is an adapter: merge it into its base first\./],
    [["config.json", "model.safetensors"], null, /org\/name has no tokenizer\.json\./],
    [["model.safetensors", "tokenizer.json"], null, /nothing that can be served/],
    [["a-Q4_0.gguf", "b-Q4_0.gguf"], "Q4_0", /no single GGUF file that 'Q4_0' means\. It has:\n {2}a-Q4_0\.gguf/],
    [["a-Q4_0.gguf"], "Q8_0", /no single GGUF file that 'Q8_0' means/],
    [[...folder, "model.safetensors"], "x.gguf", /It has no GGUF file\./],
    [["x-00001-of-00003.gguf", "x-00003-of-00003.gguf"], null, /should come in 3 parts, of which 2 are there/],
  ])("what cannot be served is refused with a sentence: %j %s", (paths, wanted, message) => {
    expect(() => chosen(paths, wanted)).toThrow(message);
  });
});

describe("an index", () => {
  it("names each file of weights once", () => {
    const index = JSON.stringify({ weight_map: { a: "2.safetensors", b: "1.safetensors", c: "2.safetensors" } });
    const found = weightsOfIndex("org/name", index, files("1.safetensors", "2.safetensors", "3.safetensors"));
    expect(found.map(({ path }) => path)).toEqual(["1.safetensors", "2.safetensors"]);
  });

  it.each([
    ["not JSON", /names no weights/],
    ["{}", /names no weights/],
    ['{"weight_map": {"a": "pytorch_model.bin"}}', /"pytorch_model.bin", which is no safetensors file beside it/],
    ['{"weight_map": {"a": "sub/1.safetensors"}}', /no safetensors file beside it/],
    ['{"weight_map": {"a": "none.safetensors"}}', /no safetensors file beside it/],
  ])("that cannot be gone by is refused: %s", (text, message) => {
    const there = files("pytorch_model.bin", "sub/1.safetensors", "1.safetensors");
    expect(() => weightsOfIndex("org/name", text, there)).toThrow(message);
  });
});
