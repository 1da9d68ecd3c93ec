import { announcement } from "../../session.js";
import { running, showVersion } from "../chat-state.js";

/** Goes to the other versions of a message, where there are any; what followed one comes with it. */
export function VersionSwitch({ id, versions }: { readonly id: string; readonly versions: readonly string[] }) {
  if (versions.length < 2) return null;
  const at = versions.indexOf(id);
  const step = (by: number, name: string) => {
    const version = versions[at + by];
    const isBarred = version === undefined || running.value !== null;
    return (
      <button
        type="button"
        class="quiet"
        aria-label={name}
        // Not disabled: it would lose the focus at the end of the row.
        aria-disabled={isBarred}
        onClick={() => {
          if (isBarred) return;
          showVersion(version);
          announcement.value = `Version ${at + by + 1} of ${versions.length}.`;
        }}
      >
        {by < 0 ? "‹" : "›"}
      </button>
    );
  };
  return (
    // biome-ignore lint/a11y/useSemanticElements: a fieldset is for what is filled in
    <span class="versions" role="group" aria-label="Versions">
      {step(-1, "Previous version")}
      <span>
        {at + 1}/{versions.length}
      </span>
      {step(1, "Next version")}
    </span>
  );
}
