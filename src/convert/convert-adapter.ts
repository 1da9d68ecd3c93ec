import type { AdapterManifest } from "../model/manifest.js";
import { readBackboneManifest } from "../model/model-folder.js";
import { AdapterSource, adapterParts } from "./adapter-source.js";
import { type ConvertProgress, reporter } from "./convert-progress.js";
import { writeAdapter } from "./model-writer.js";
import { openValueProjections } from "./value-projections.js";

export interface ConvertAdapterOptions {
  /** The converted model folder that it is to steer. */
  readonly model: string;
  /** The trained adapter, X.safetensors with X.json beside it. */
  readonly file: string;
  readonly name: string;
  /** The folder to make; nothing must be there. Left half-written when this fails: build it where nobody looks. */
  readonly out: string;
  readonly onProgress?: ((progress: ConvertProgress) => void) | undefined;
  /** Ends the work with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Converts one trained adapter for a model that is converted already; the result is what `convert` with that adapter
 * would have made. Holds its thread for long stretches.
 * @throws ToastError `file_missing`, `invalid_manifest`, `invalid_adapter`, `adapter_mismatch`, `missing_tensor`,
 *   `misshapen_tensor`, `corrupt_safetensors`, `not_finite_weights`, `disk_full`, `write_failed`
 */
export async function convertAdapter(options: ConvertAdapterOptions): Promise<AdapterManifest> {
  const backbone = await readBackboneManifest(options.model);
  const { architecture: config, backboneSha256, quantization } = backbone;
  const source = await AdapterSource.open(options.file, config);
  try {
    source.checkBackbone(backboneSha256);
    const values = await openValueProjections(options.model, backbone);
    try {
      const parts = adapterParts({ name: options.name, source }, values, config);
      return await writeAdapter(options.out, parts, { config, backboneSha256, quantization }, reporter(options));
    } finally {
      await values.close();
    }
  } finally {
    await source.close();
  }
}
