import { BroadcastChannel } from "node:worker_threads";

/** The real worker, which ends in the way that it is told to: `throw`, `exit`, or whatever cannot be foreseen. */
const channel = new BroadcastChannel("end-engine");
channel.onmessage = ({ data }) => {
  if (data === "exit") process.exit(3);
  throw new Error(`ended by ${data}`);
};
channel.unref();
await import("../../../dist/engine/thread/worker.js");
