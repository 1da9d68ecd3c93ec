import * as ort from "onnxruntime-node";

/**
 * The graph that `multipliesExactly` asks: unsigned [M,K] times signed bytes [K,N], as float32. A test builds it anew
 * with the converter's GraphBuilder and compares.
 */
export const byteProducts =
  "CAoSC3RvYXN0LXNlcnZlOt4BCj8KCHVuc2lnbmVkCgZzaWduZWQSDU1hdE11bEludGVnZXIaDU1hdE11bEludGVnZXIiDU1hdE11bEludGVn" +
  "ZXIKNAoNTWF0TXVsSW50ZWdlchIIcHJvZHVjdHMaCHByb2R1Y3RzIgRDYXN0KgkKAnRvGAGgAQISDWJ5dGVfcHJvZHVjdHNaHAoIdW5zaWdu" +
  "ZWQSEAoOCAISCgoDEgFNCgMSAUtaGgoGc2lnbmVkEhAKDggDEgoKAxIBSwoDEgFOYhwKCHByb2R1Y3RzEhAKDggBEgoKAxIBTQoDEgFOQgIQ" +
  "FUIRCg1jb20ubWljcm9zb2Z0EAE=";

/**
 * Session options for exact products of bytes everywhere. x86 processors without VNNI add pairs of them in 16 bits,
 * which saturates; `x64quantprecision` makes onnxruntime rewrite the weights as unsigned bytes at load, whose products
 * it adds in 32 bits, at twice the time for many rows. It would rewrite them on processors with VNNI and without AMX as
 * well, which need it not: so the processor is asked first.
 */
export function exactProducts(): Promise<{
  readonly extra?: { readonly session: { readonly x64quantprecision: "1" } };
}> {
  exactness ??= multipliesExactly().then((exact) => (exact ? {} : { extra: { session: { x64quantprecision: "1" } } }));
  return exactness;
}

let exactness: ReturnType<typeof exactProducts> | undefined;

/** Whether the largest products of bytes come out right as they are. */
async function multipliesExactly(): Promise<boolean> {
  const session = await ort.InferenceSession.create(Buffer.from(byteProducts, "base64"), {
    intraOpNumThreads: 1,
    logSeverityLevel: 3,
  });
  const [rows, inner, columns] = [2, 64, 32];
  const unsigned = new ort.Tensor("uint8", new Uint8Array(rows * inner).fill(255), [rows, inner]);
  const signed = new ort.Tensor("int8", new Int8Array(inner * columns).fill(127), [inner, columns]);
  const { products } = await session.run({ unsigned, signed });
  await session.release();
  const values = products?.data;
  return values instanceof Float32Array && values.every((product) => product === 255 * 127 * inner);
}
