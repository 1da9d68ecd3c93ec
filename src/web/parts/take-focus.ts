/**
 * As a `ref`: whoever opens something goes on in it. The attribute `autofocus` is heeded for the first element of a
 * page only. The text of a field is selected, so that typing replaces it.
 */
export function takeFocus(element: HTMLElement | null): void {
  element?.focus();
  if (element instanceof HTMLInputElement) element.select();
}

/** Puts the focus on what is about to be shown, in a sheet that is about to open perhaps. */
export function focusSoon(id: string): void {
  // A frame for what is rendered, another one for effects, which open sheets.
  requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(() => document.getElementById(id)?.focus())));
}
