import { useState } from "preact/hooks";
import { announcement } from "../session.js";

/** @param text written at the click where it takes work. */
export function CopyButton({
  text,
  label = "Copy",
}: {
  readonly text: string | (() => string);
  readonly label?: string;
}) {
  const [copied, setCopied] = useState(false);
  const copy = async () => {
    const worked = await writeClipboard(typeof text === "string" ? text : text());
    announcement.value = worked ? "Copied." : "The browser did not allow copying.";
    setCopied(worked);
    setTimeout(() => setCopied(false), 2_000);
  };
  return (
    <button type="button" class="quiet" onClick={() => void copy()}>
      {copied ? "Copied" : label}
    </button>
  );
}

/** The clipboard's own interface exists only on https and localhost; a server in the local network is neither. */
async function writeClipboard(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    const worked = document.execCommand("copy");
    area.remove();
    return worked;
  }
}
