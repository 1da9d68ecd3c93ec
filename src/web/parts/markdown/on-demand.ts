/**
 * What dresses code and formulas: each a script of its own, loaded with the first that an answer holds. Until then, and
 * where it cannot be loaded, the source stands there.
 */

interface OnDemand<Module> {
  /** Null until it is there. */
  loaded: Module | null;
  loading: Promise<void> | null;
  readonly load: () => Promise<Module>;
}

/** @param use is called at once where the module is there, so that growing text does not flicker; else once it is. */
function whenLoaded<Module>(wanted: OnDemand<Module>, use: (module: Module) => void): void {
  if (wanted.loaded !== null) {
    use(wanted.loaded);
    return;
  }
  wanted.loading ??= wanted.load().then(
    (module) => {
      wanted.loaded = module;
    },
    () => {
      // The next one tries again.
      wanted.loading = null;
    },
  );
  void wanted.loading.then(() => {
    if (wanted.loaded !== null) use(wanted.loaded);
  });
}

const highlighter: OnDemand<typeof import("./highlight.js")> = {
  loaded: null,
  loading: null,
  load: () => import("./highlight.js"),
};
const typesetter: OnDemand<typeof import("./typeset.js")> = {
  loaded: null,
  loading: null,
  load: () => import("./typeset.js"),
};

/** More than this is not coloured again with each token that comes. */
const longestCode = 40_000;

/** Colours the code of a block whose language is named. */
export function withHighlights(fragment: DocumentFragment): void {
  for (const code of fragment.querySelectorAll<HTMLElement>("pre > code[data-language]:not([data-language=''])")) {
    if (code.textContent.length > longestCode) continue;
    whenLoaded(highlighter, ({ highlighted }) => {
      const coloured = highlighted(code.textContent, code.getAttribute("data-language") ?? "");
      if (coloured !== null) code.replaceChildren(coloured);
    });
  }
}

/** Sets the formulas of a block; one that is not well formed keeps its source. */
export function withTypesetFormulas(fragment: DocumentFragment): void {
  for (const source of fragment.querySelectorAll<HTMLElement>("code[data-formula]")) {
    whenLoaded(typesetter, ({ typeset }) => {
      const formula = typeset(source.textContent, source.getAttribute("data-formula") === "block");
      if (formula !== null) source.replaceWith(formula);
    });
  }
}
