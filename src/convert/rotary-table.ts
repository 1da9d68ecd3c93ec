import type { LlamaConfig } from "./llama-config.js";

type RotaryConfig = Pick<LlamaConfig, "headDim" | "ropeTheta" | "ropeScaling" | "contextLength">;

/**
 * Inverse frequencies, float32 [Hd/2], stretched as the config's rope scaling says.
 *
 * Every step is rounded to float32, as in the libraries that trained the weights: at position 2,000 a frequency that is
 * more exact than theirs turns a head by up to 1e-4 radians against what the model learned.
 */
export function rotaryFrequencies(config: RotaryConfig): Float32Array {
  const f = Math.fround;
  const scaling = config.ropeScaling;
  return Float32Array.from({ length: config.headDim / 2 }, (_, index) => {
    const exponent = f((2 * index) / config.headDim);
    const frequency = f(1 / f(config.ropeTheta ** exponent));
    switch (scaling.kind) {
      case "default":
        return frequency;
      case "linear":
        return frequency / scaling.factor;
      case "factors":
        return f(frequency / (scaling.factors[index] ?? 1)) / scaling.factor;
      case "llama3": {
        // Wavelengths under original/high stay, those over original/low are stretched, and between them it is blended.
        const { factor, lowFreqFactor, highFreqFactor, originalContextLength } = scaling;
        const wavelength = f(f(2 * Math.PI) / frequency);
        const span = highFreqFactor - lowFreqFactor;
        const keep = f(f(f(originalContextLength / wavelength) - lowFreqFactor) / span);
        const kept = Math.min(1, Math.max(0, keep));
        return f(f(f(1 - kept) * frequency) / factor) + f(kept * frequency);
      }
    }
  });
}

/**
 * Cosines and sines of every position of the context, float32 [contextLength, Hd/2] each: element i of a head turns
 * with element i + Hd/2.
 */
export function rotaryTable(config: RotaryConfig, part: "cos" | "sin"): Float32Array {
  const frequencies = rotaryFrequencies(config);
  const half = frequencies.length;
  const turn = part === "cos" ? Math.cos : Math.sin;
  const table = new Float32Array(config.contextLength * half);
  for (let position = 0; position < config.contextLength; position++) {
    for (const [index, frequency] of frequencies.entries()) {
      table[position * half + index] = turn(Math.fround(position * frequency));
    }
  }
  return table;
}
