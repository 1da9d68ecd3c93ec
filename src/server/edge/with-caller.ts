import type { Generate } from "../../engine/engine.js";
import { currentRecord } from "./request-record.js";

/** Tells the engine who asks, so that turns go round between callers. Outside of any request: nobody in particular. */
export function withCaller(generate: Generate): Generate {
  return (request, signal) => {
    const caller = currentRecord()?.caller?.id;
    return generate(caller === undefined ? request : { ...request, caller }, signal);
  };
}
