import { describe, expect, it } from "vitest";
import { EventQueue } from "../src/event-queue.js";

async function all<Event>(queue: EventQueue<Event>): Promise<Event[]> {
  const events: Event[] = [];
  for await (const event of queue) events.push(event);
  return events;
}

describe("EventQueue", () => {
  it("gives what was pushed before and while it is read, in order, undefined too", async () => {
    const queue = new EventQueue<number | undefined>();
    queue.push(1);
    const reading = all(queue);
    await Promise.resolve();
    queue.push(undefined);
    queue.push(3);
    await Promise.resolve();
    queue.push(4);
    queue.close();
    expect(await reading).toEqual([1, undefined, 3, 4]);
  });

  it("throws a failure behind what was pushed before it, and passes over what comes later", async () => {
    const queue = new EventQueue<number>();
    queue.push(1);
    queue.fail(new Error("broken"));
    queue.push(2);
    queue.close();
    expect(await queue.next()).toEqual({ done: false, value: 1 });
    await expect(queue.next()).rejects.toThrow("broken");
    await expect(queue.next()).rejects.toThrow("broken");
  });

  it("tells once whoever pushes that the reader has walked away", async () => {
    let left = 0;
    const queue = new EventQueue<number>(() => {
      left++;
    });
    queue.push(1);
    queue.push(2);
    for await (const event of queue) if (event === 1) break;
    queue.push(3);
    expect([left, await queue.next()]).toEqual([1, { done: true, value: undefined }]);
  });

  it("says nothing of a reader who came to the end", async () => {
    let left = 0;
    const queue = new EventQueue<number>(() => {
      left++;
    });
    queue.push(1);
    queue.close();
    expect(await all(queue)).toEqual([1]);
    expect(left).toBe(0);
  });

  it("ends a reader who waits when it is left", async () => {
    const queue = new EventQueue<number>();
    const next = queue.next();
    await queue.return();
    expect(await next).toEqual({ done: true, value: undefined });
  });
});
