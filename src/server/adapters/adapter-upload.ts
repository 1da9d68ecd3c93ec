import { join } from "node:path";
import type { AdapterArrivalFiles } from "../../adapters/adapter-builder.js";
import { ToastError } from "../../errors.js";
import { manifestFileName } from "../../model/model-folder.js";
import { invalidForm, type ReceivedForm, receiveForm } from "../upload-form.js";

/** A form as it came: its text fields, and its files on the disk. */
export interface AdapterUpload {
  readonly fields: ReadonlyMap<string, string>;
  readonly files: AdapterArrivalFiles;
}

/** What a converted adapter is made of, under the names that the converter gives. */
const convertedNames = [manifestFileName, "adapter.onnx", "adapter.onnx.data"];
const trainedWeights = "adapter.safetensors";
const trainedDescription = "adapter.json";
/** What is often sent instead. */
const peftDescription = "adapter_config.json";

/**
 * Reads multipart/form-data onto the disk as it comes.
 * @param folder an empty one.
 * @param maxBytes of all files together.
 * @throws ToastError as `receiveForm`.
 */
export async function receiveUpload(request: Request, folder: string, maxBytes: number): Promise<AdapterUpload> {
  const { fields, files } = await receiveForm(request, {
    folder,
    maxBytes,
    fields: ["model", "name", "sha256"],
    ownNameOf,
    subject: "the adapter",
    refusal,
  });
  return { fields, files: arrived(folder, files) };
}

function refusal(filename: string): ToastError {
  if (filename === peftDescription) {
    const message = `${peftDescription} is of a PEFT adapter (LoRA and its kin); this server steers with TOAST adapters only (docs/adapters.md).`;
    return new ToastError("invalid_adapter", message, { param: "file" });
  }
  return invalidForm(
    `The file '${filename}' is none of an adapter: send a .safetensors file and its .json, or ${convertedNames.join(", ")}.`,
  );
}

function arrived(folder: string, files: ReceivedForm["files"]): AdapterArrivalFiles {
  if (files.has(trainedWeights) && files.has(trainedDescription) && files.size === 2) {
    const name = (files.get(trainedWeights) ?? "").replace(/\.safetensors$/, "");
    return { kind: "trained", weights: join(folder, trainedWeights), name };
  }
  if (files.size === convertedNames.length && convertedNames.every((name) => files.has(name))) {
    return { kind: "converted", folder, origin: "client" };
  }
  const got = [...files.values()].join(", ") || "none";
  throw invalidForm(
    `An adapter is a .safetensors file and the .json that training writes beside it, or the files ${convertedNames.join(", ")} of a converted one; this form holds ${got}.`,
  );
}

/** Where a file goes; null for one that no adapter has. */
function ownNameOf(filename: string): string | null {
  if (filename === peftDescription) return null;
  if (convertedNames.includes(filename)) return filename;
  if (filename.endsWith(".safetensors")) return trainedWeights;
  return filename.endsWith(".json") ? trainedDescription : null;
}
