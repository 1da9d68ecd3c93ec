import type { Signal } from "@preact/signals";

/**
 * A prompt of some lines. Enter sends it, shift and Enter begins a new line; an input method's own Enter does neither.
 */
export function PromptField({
  id,
  label = "Prompt",
  rows = 2,
  value,
  placeholder,
  onSend,
}: {
  readonly id: string;
  readonly label?: string;
  readonly rows?: number;
  readonly value: Signal<string>;
  readonly placeholder?: string;
  readonly onSend: () => void;
}) {
  return (
    <div class="field grow">
      <label for={id}>{label}</label>
      <textarea
        id={id}
        rows={rows}
        placeholder={placeholder}
        value={value.value}
        onInput={({ currentTarget }) => {
          value.value = currentTarget.value;
        }}
        onKeyDown={(event) => {
          if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
            event.preventDefault();
            onSend();
          }
        }}
      />
    </div>
  );
}
