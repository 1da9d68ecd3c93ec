import type { FunctionComponent } from "preact";
import { useEffect, useState } from "preact/hooks";

/**
 * A view whose script comes when it is first opened, so that the first page does not wait for it.
 * @param load imports it; called again by the user where the server could not be reached.
 */
export function lazyView(load: () => Promise<FunctionComponent>): FunctionComponent {
  let loaded: FunctionComponent | null = null;
  return function LazyView() {
    const [state, setState] = useState<"loading" | "loaded" | "failed">(loaded === null ? "loading" : "loaded");
    useEffect(() => {
      if (state !== "loading") return;
      load().then(
        (view) => {
          loaded = view;
          setState("loaded");
        },
        () => setState("failed"),
      );
    }, [state]);
    if (loaded !== null) {
      const View = loaded;
      return <View />;
    }
    return (
      <div class="lazy">
        {state === "failed" ? (
          <>
            <p role="alert">
              This view could not be loaded: the server cannot be reached, or is of another version now.
            </p>
            <button type="button" onClick={() => setState("loading")}>
              Try again
            </button>
          </>
        ) : (
          <p class="waiting">Loading</p>
        )}
      </div>
    );
  };
}
