/** Which tokens may come next: int32 [⌈V/32⌉], a set bit for each that may. */
export type TokenMask = Int32Array;

export function isAllowed(mask: TokenMask, tokenId: number): boolean {
  return (((mask[tokenId >> 5] ?? 0) >>> (tokenId & 31)) & 1) === 1;
}

/** @param logits [V] float32; −∞ where the mask has no bit. */
export function maskLogits(logits: Float32Array, mask: TokenMask): void {
  for (let word = 0; word < mask.length; word += 1) {
    const bits = mask[word] ?? 0;
    if (bits === -1) continue;
    const from = word * 32;
    const end = Math.min(from + 32, logits.length);
    if (bits === 0) logits.fill(Number.NEGATIVE_INFINITY, from, end);
    else
      for (let id = from; id < end; id += 1)
        if (((bits >>> (id - from)) & 1) === 0) logits[id] = Number.NEGATIVE_INFINITY;
  }
}

/** Whether nothing but some of `exempt` is allowed. */
export function allowsOnly(mask: TokenMask, exempt: readonly number[]): boolean {
  for (let word = 0; word < mask.length; word += 1) {
    let bits = mask[word] ?? 0;
    if (bits === 0) continue;
    for (const id of exempt) if (id >> 5 === word) bits &= ~(1 << (id & 31));
    if (bits !== 0) return false;
  }
  return true;
}

export function isEmpty(mask: TokenMask): boolean {
  return mask.every((bits) => bits === 0);
}
