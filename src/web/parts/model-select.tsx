import { models } from "../session.js";

/** All served models; what steers comes first, as a narrow page cuts the rest off. */
export function ModelSelect({
  id,
  label = "Model",
  value,
  onChoose,
}: {
  readonly id: string;
  readonly label?: string;
  readonly value: string;
  readonly onChoose: (id: string) => void;
}) {
  return (
    <div class="field model-select">
      <label for={id}>{label}</label>
      <select
        id={id}
        value={value}
        disabled={models.value.length === 0}
        onChange={(event) => onChoose(event.currentTarget.value)}
      >
        {models.value.length === 0 ? <option value="">no model yet</option> : null}
        {models.value.map((model) => (
          <option key={model.id} value={model.id}>
            {model.adapter === null ? model.id : `${model.adapter} on ${model.root}`}
          </option>
        ))}
      </select>
    </div>
  );
}
