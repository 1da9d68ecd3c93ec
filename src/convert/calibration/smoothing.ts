/**
 * How an input channel is weighed against its weights before both are quantized: it is divided by a scale, its weights
 * are multiplied with it, and the product stays. Channels that are large in every row lose their hold on the rows'
 * scales.
 * @see https://arxiv.org/abs/2211.10438 (SmoothQuant)
 */

/**
 * Shares of the work that weights take from activations; 0 leaves both as they are. Measured: most layers choose 0.7 to
 * 0.9.
 */
const shares = [0, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1];
/** Channels that hardly ever say anything. */
const smallest = 1e-5;

/**
 * The scales by which a product of int8 rows and int8 weights errs least, of one for each share.
 *
 * The error is the expected one: a row of activations errs by its largest value, on every weight it meets; a row of
 * weights by its largest, on every activation. Trying the products themselves chose scales of the same worth.
 *
 * @param inputs float32 [N,size]: rows of activations.
 * @param weights float32 [*,size]: the matrices that they meet.
 * @returns float32 [size], of geometric mean 1; all 1 where the inputs are no numbers.
 */
export function smoothingScales(inputs: Float32Array, weights: readonly Float32Array[], size: number): Float32Array {
  const input = channelsOf([inputs], size);
  const weight = channelsOf(weights, size);
  let best = new Float32Array(size).fill(1);
  let least = Number.POSITIVE_INFINITY;
  for (const share of shares) {
    const scales = share === 0 ? best : scalesOf(input.largest, weight.largest, share);
    const inverse = scales.map((scale) => 1 / scale);
    const fromInputs = squaredMaxima([inputs], inverse, size) * energyOf(weight.energy, scales);
    const fromWeights = squaredMaxima(weights, scales, size) * energyOf(input.energy, inverse);
    if (fromInputs + fromWeights < least) {
      least = fromInputs + fromWeights;
      best = scales;
    }
  }
  return best;
}

function scalesOf(inputs: Float64Array, weights: Float64Array, share: number): Float32Array<ArrayBuffer> {
  const logs = Float64Array.from(inputs, (largest, channel) => {
    const weight = Math.max(weights[channel] as number, smallest);
    return share * Math.log(Math.max(largest, smallest)) - (1 - share) * Math.log(weight);
  });
  const mean = logs.reduce((sum, log) => sum + log, 0) / logs.length;
  return Float32Array.from(logs, (log) => Math.exp(log - mean));
}

/** Largest magnitude and sum of squares of each channel. */
function channelsOf(matrices: readonly Float32Array[], size: number): { largest: Float64Array; energy: Float64Array } {
  const largest = new Float64Array(size);
  const energy = new Float64Array(size);
  for (const matrix of matrices) {
    for (let start = 0; start < matrix.length; start += size) {
      for (let channel = 0; channel < size; channel++) {
        const value = Math.abs(matrix[start + channel] as number);
        if (value > (largest[channel] as number)) largest[channel] = value;
        energy[channel] = (energy[channel] as number) + value * value;
      }
    }
  }
  return { largest, energy };
}

/** The sum over all rows of the square of a row's largest value, after scaling. */
function squaredMaxima(matrices: readonly Float32Array[], scales: Float32Array, size: number): number {
  let sum = 0;
  for (const matrix of matrices) {
    for (let start = 0; start < matrix.length; start += size) {
      let largest = 0;
      for (let channel = 0; channel < size; channel++) {
        const value = Math.abs((matrix[start + channel] as number) * (scales[channel] as number));
        if (value > largest) largest = value;
      }
      sum += largest * largest;
    }
  }
  return sum;
}

function energyOf(energy: Float64Array, scales: Float32Array): number {
  return energy.reduce((sum, value, channel) => sum + value * (scales[channel] as number) ** 2, 0);
}
