import { Presets, SingleBar } from "cli-progress";
import type { Terminal } from "./terminal.js";

/** How far something is: a bar where a person watches, else a line per stage and quarter, fit for a log. */
export interface ProgressLine {
  /** @param detail changes all the time: what a person may watch, and a log gets only with a new stage or quarter. */
  update(stage: string, fraction: number, detail?: string): void;
  /** To be called before anything else is printed; later updates are dropped. */
  end(): void;
}

export function progressLine(terminal: Terminal, label: string): ProgressLine {
  const view = terminal.interactive ? bar(label) : lines(terminal, label);
  let ended = false;
  return {
    update(stage, fraction, detail) {
      if (!ended) {
        view.update(stage, fraction, detail);
      }
    },
    end() {
      if (!ended) {
        ended = true;
        view.end();
      }
    },
  };
}

function bar(label: string): ProgressLine {
  const view = new SingleBar(
    // Not the terminal's default of 10 a second: loading and converting change slowly.
    { format: `${label} {bar} {percentage} %  {stage}`, hideCursor: true, clearOnComplete: true, fps: 5 },
    Presets.shades_classic,
  );
  view.start(100, 0, { stage: "" });
  return {
    update: (stage, fraction, detail) =>
      view.update(Math.floor(fraction * 100), { stage: detail === undefined ? stage : `${stage}: ${detail}` }),
    end: () => view.stop(),
  };
}

function lines(terminal: Terminal, label: string): ProgressLine {
  // Several things that go on at once take turns: each says its stage once.
  const told = new Set<string>();
  return {
    update(stage, fraction, detail) {
      const step = `${stage} ${Math.floor(fraction * 4)}`;
      if (!told.has(step)) {
        told.add(step);
        terminal.err(`${label}: ${Math.floor(fraction * 100)} %, ${stage}${detail === undefined ? "" : `: ${detail}`}`);
      }
    },
    end() {},
  };
}
