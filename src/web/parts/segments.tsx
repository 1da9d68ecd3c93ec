import "./segments.css";

/** One of a few, as buttons side by side. */
export function Segments<Value extends string>({
  name,
  legend,
  isLegendSeen = true,
  options,
  value,
  onChoose,
}: {
  readonly name: string;
  readonly legend: string;
  readonly isLegendSeen?: boolean;
  readonly options: readonly { readonly value: Value; readonly label: string }[];
  readonly value: Value;
  readonly onChoose: (value: Value) => void;
}) {
  return (
    <fieldset class="segments">
      <legend class={isLegendSeen ? "" : "visually-hidden"}>{legend}</legend>
      {options.map((option) => (
        <label key={option.value} class={option.value === value ? "on" : ""}>
          <input type="radio" name={name} checked={option.value === value} onChange={() => onChoose(option.value)} />
          {option.label}
        </label>
      ))}
    </fieldset>
  );
}
