import { CopyButton } from "../copy-button.js";

export function CodeHead({ code, language }: { readonly code: string; readonly language: string }) {
  return (
    <>
      <span class="code-language">{language === "" ? "code" : language}</span>
      <CopyButton text={code.replace(/\n$/, "")} label="Copy code" />
    </>
  );
}
