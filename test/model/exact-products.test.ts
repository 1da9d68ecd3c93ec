import { describe, expect, it } from "vitest";
import { GraphBuilder } from "../../src/convert/graph-builder.js";
import { byteProducts, exactProducts } from "../../src/model/exact-products.js";

describe("exactProducts", () => {
  it("asks the processor with the graph that it says", () => {
    const b = new GraphBuilder("byte_products");
    const unsigned = b.input("unsigned", "uint8", ["M", "K"]);
    const signed = b.input("signed", "int8", ["K", "N"]);
    const product = b.node("MatMulInteger", [unsigned, signed]);
    b.output(b.node("Cast", [product], { attributes: { to: { int: 1 } }, output: "products" }), "float32", ["M", "N"]);
    expect(byteProducts).toBe(Buffer.from(b.build().graph).toString("base64"));
  });

  it("asks once, and wants weights rewritten or left as they are", async () => {
    const answer = exactProducts();
    expect(exactProducts()).toBe(answer);
    expect([{}, { extra: { session: { x64quantprecision: "1" } } }]).toContainEqual(await answer);
  });
});
