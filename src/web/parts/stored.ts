import { effect, type Signal, signal } from "@preact/signals";

/**
 * A signal that survives a reload in the browser's storage. Storage that is full or forbidden (a private window, say)
 * only means that it does not.
 * @param read checks what was stored, perhaps by an older page.
 */
export function storedSignal<Value>(key: string, read: (stored: unknown) => Value, storage: Storage): Signal<Value> {
  const value = signal(read(parseOrNull(storage, key)));
  effect(() => {
    const text = JSON.stringify(value.value);
    try {
      storage.setItem(key, text);
    } catch {
      // Kept for this visit only.
    }
  });
  return value;
}

/** A stored signal that has what other tabs of this browser make of it, too. */
export function sharedSignal<Value>(key: string, read: (stored: unknown) => Value): Signal<Value> {
  const value = storedSignal(key, read, localStorage);
  addEventListener("storage", (event) => {
    if (event.key === key && event.storageArea === localStorage) value.value = read(parseOrNull(localStorage, key));
  });
  return value;
}

function parseOrNull(storage: Storage, key: string): unknown {
  try {
    return JSON.parse(storage.getItem(key) ?? "null");
  } catch {
    return null;
  }
}
