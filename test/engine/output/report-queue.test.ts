import { describe, expect, it } from "vitest";
import { ReportQueue, unfinishedCharacter } from "../../../src/engine/output/report-queue.js";
import type { TokenReport } from "../../../src/engine/token-report.js";

const utf8 = new TextEncoder();
const bytesOf = (text: string | readonly number[]): Uint8Array =>
  typeof text === "string" ? utf8.encode(text) : Uint8Array.from(text);
const report = (id: number, text: string | readonly number[]): TokenReport => ({
  id,
  bytes: bytesOf(text),
  logprob: null,
  top: [],
  steering: null,
  vectors: [],
  draft: "none",
});
const queueOf = (...texts: readonly (string | readonly number[])[]): ReportQueue => {
  const queue = new ReportQueue(new Uint8Array());
  for (const [id, text] of texts.entries()) queue.push(report(id, text));
  return queue;
};
const idsOf = (reports: readonly TokenReport[]): readonly number[] => reports.map(({ id }) => id);

describe("ReportQueue", () => {
  it("lets a report go with the text that has its token's last byte", () => {
    const queue = queueOf("one", " two", " three");
    expect(idsOf(queue.take("on"))).toEqual([]);
    expect(idsOf(queue.take("e tw"))).toEqual([0]);
    expect(idsOf(queue.take("o three"))).toEqual([1, 2]);
    expect(queue.flush()).toEqual([]);
  });

  it("says nothing where no text is out", () => {
    const queue = queueOf("one");
    expect(queue.take("")).toEqual([]);
    expect(idsOf(queue.take("one"))).toEqual([0]);
  });

  it("holds the first bytes of a character back until its last one", () => {
    const [first, second, third] = [...utf8.encode("€")] as [number, number, number];
    const queue = queueOf([first], [second], [third]);
    expect(idsOf(queue.take("€"))).toEqual([0, 1, 2]);
  });

  it("counts as many replacement characters as the decoder makes of bytes that are none", () => {
    // The first two begin a character, and 0x41 shows that they do not.
    const queue = queueOf([0xe2, 0x82], "A", [0xff], "B");
    expect(idsOf(queue.take("\ufffd"))).toEqual([0]);
    expect(idsOf(queue.take("A\ufffd"))).toEqual([1, 2]);
    expect(idsOf(queue.take("B"))).toEqual([3]);
  });

  it("lets a token without bytes go with what is in front of it", () => {
    const queue = queueOf("one", [], "two");
    expect(idsOf(queue.take("one"))).toEqual([0, 1]);
    expect(idsOf(queue.take("two"))).toEqual([2]);
  });

  it("reports of a token that a stop string cuts in two the bytes in front of the cut, and none behind it", () => {
    const queue = queueOf("one", " two", "STOP", "more");
    const reports = queue.cut("one tw");
    expect(idsOf(reports)).toEqual([0, 1]);
    expect(reports.map(({ bytes }) => new TextDecoder().decode(bytes))).toEqual(["one", " tw"]);
    expect(queue.flush()).toEqual([]);
    expect(idsOf(queueOf("one", "STOP").cut("one"))).toEqual([0]);
  });

  it("cuts behind text that was out before", () => {
    const queue = queueOf("one", " two", " three");
    queue.take("one t");
    const [broken, ...others] = queue.cut("w");
    expect([broken?.id, new TextDecoder().decode(broken?.bytes), others]).toEqual([1, " tw", []]);
  });

  it("lets everything go at the end of the text, tokens without bytes too", () => {
    const queue = queueOf("one", " two", []);
    queue.take("on");
    expect(idsOf(queue.flush())).toEqual([0, 1, 2]);
    expect(queue.flush()).toEqual([]);
  });

  it("does not report the beginning of a character that stood in front of the text", () => {
    const [first, ...rest] = [...utf8.encode("é")] as [number, number];
    const queue = new ReportQueue(Uint8Array.of(first));
    queue.push(report(7, rest));
    queue.push(report(8, "t"));
    expect(idsOf(queue.take("ét"))).toEqual([7, 8]);
  });
});

describe("unfinishedCharacter", () => {
  it("is the end of the bytes that begins a character and does not finish it", () => {
    const euro = [...utf8.encode("a€")];
    expect([...unfinishedCharacter(bytesOf(euro))]).toEqual([]);
    expect([...unfinishedCharacter(bytesOf(euro.slice(0, 3)))]).toEqual(euro.slice(1, 3));
    expect([...unfinishedCharacter(bytesOf(euro.slice(0, 2)))]).toEqual(euro.slice(1, 2));
    const face = [...utf8.encode("😀")];
    expect([...unfinishedCharacter(bytesOf(face.slice(0, 3)))]).toEqual(face.slice(0, 3));
    expect([...unfinishedCharacter(bytesOf([0x80, 0xff]))]).toEqual([]);
    expect([...unfinishedCharacter(bytesOf([]))]).toEqual([]);
  });
});
