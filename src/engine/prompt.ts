import type { ChatMessage } from "../text/chat-message.js";
import type { Rendering } from "../text/chat-template.js";

/** What to continue. Rendering and tokenizing happen in the worker: a long prompt must not hold up the HTTP thread. */
export type Prompt =
  | {
      readonly kind: "chat";
      readonly messages: readonly ChatMessage[];
      /** How the template writes them; absent: as it writes a conversation that is to be answered. */
      readonly rendering?: Rendering;
    }
  | { readonly kind: "text"; readonly text: string; readonly addSpecialTokens: boolean }
  | { readonly kind: "tokens"; readonly ids: readonly number[] };

export type { Rendering } from "../text/chat-template.js";
