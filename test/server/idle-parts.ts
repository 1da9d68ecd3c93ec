import { AdapterLibrary } from "../../src/adapters/adapter-library.js";
import { Arena } from "../../src/arena/arena.js";
import { Roster } from "../../src/arena/contestants/roster.js";
import type { EngineRegistry } from "../../src/engine/engine-registry.js";
import { steeringChoice } from "../../src/openai/steering-field.js";
import { arenaLimits } from "../../src/server/arena/arena-settings.js";
import { ownServer } from "../../src/server/arena/own-server.js";
import { BodyRoom } from "../../src/server/body-room.js";
import type { ServerDeps } from "../../src/server/server-deps.js";
import { VectorLibrary } from "../../src/vectors/vector-library.js";

/** Adapters and arena of a server that is asked for neither: no adapters folder, no store. */
export function idleParts(registry: EngineRegistry): Pick<ServerDeps, "adapters" | "vectors" | "arena" | "bodies"> {
  const never = () => Promise.reject(new Error("no test asks for this"));
  const quiet = () => {};
  const log = { info: quiet, warn: quiet, error: quiet };
  const library = new AdapterLibrary({ hosts: [], directory: null, convert: never, log });
  const arena = new Arena(new Roster([], ownServer(registry, quiet), steeringChoice), never, never);
  return {
    bodies: new BodyRoom(),
    adapters: { library, maxBytes: 1 },
    vectors: new VectorLibrary({ hosts: [], directory: "/nowhere", log }),
    arena: { arena, pace: { charactersPerSecond: 1, tickMs: 1 }, limits: arenaLimits(1) },
  };
}
