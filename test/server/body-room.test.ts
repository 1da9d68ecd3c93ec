import { expect, it, onTestFinished, vi } from "vitest";
import { BodyRoom } from "../../src/server/body-room.js";

const post = (body: ReadableStream<Uint8Array> | string) =>
  new Request("http://localhost/", { method: "POST", body, duplex: "half" } as RequestInit);

/** A body that sends so many bytes, and then nothing. */
function unfinished(bytes: number): ReadableStream<Uint8Array> {
  return new ReadableStream({ start: (controller) => controller.enqueue(new Uint8Array(bytes)) });
}

it("reads bodies up to their limit", async () => {
  const room = new BodyRoom();
  expect((await room.read(post("x".repeat(1_000)), 1_000)).toString()).toBe("x".repeat(1_000));
  await expect(room.read(post("x".repeat(1_001)), 1_000)).rejects.toMatchObject({ code: "body_too_large" });
});

it("gives a body its time", async () => {
  const room = new BodyRoom({ milliseconds: 50 });
  await expect(room.read(post(unfinished(10)), 1_000)).rejects.toMatchObject({ code: "request_timeout" });
});

it.each([
  [30_000, 4 * 1024 * 1024],
  [90_000, 10 * 1024 * 1024],
  [300_000, 1024 * 1024 * 1024],
])("lets nobody take more than %i ms for a body of at most %i bytes", async (milliseconds, maxBytes) => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  onTestFinished(() => void vi.useRealTimers());
  const refused: string[] = [];
  const reading = new BodyRoom()
    .read(post(unfinished(10)), maxBytes)
    .catch(({ code }: { code: string }) => refused.push(code));
  await vi.advanceTimersByTimeAsync(milliseconds - 1);
  expect(refused).toEqual([]);
  await vi.advanceTimersByTimeAsync(1);
  await reading;
  expect(refused).toEqual(["request_timeout"]);
});

it("holds no more than its bytes: what has been on its way for longest gives way, and what comes in one go is read", async () => {
  const room = new BodyRoom({ mostBytes: 1_000 });
  const codes: string[] = [];
  const slow = Array.from({ length: 300 }, () =>
    room.read(post(unfinished(100)), 1_000).catch(({ code }: { code: string }) => codes.push(code)),
  );
  await expect.poll(() => codes.length).toBe(290);
  expect(new Set(codes)).toEqual(new Set(["server_overloaded"]));
  // More than there is room for beside them, three times.
  for (let time = 0; time < 3; time++) {
    expect((await room.read(post("y".repeat(900)), 1_000)).toString()).toBe("y".repeat(900));
  }
  // Those that were given up first are those that came first.
  await Promise.all(slow.slice(0, 299));
});

it("takes a body that is larger than the room, alone", async () => {
  const room = new BodyRoom({ mostBytes: 1_000 });
  expect(await room.read(post("z".repeat(5_000)), 10_000)).toHaveLength(5_000);
});
