export type ChatRole = "system" | "user" | "assistant" | "tool";

/** A call that a model has made. */
export interface ToolCall {
  readonly id: string;
  readonly name: string;
  /** JSON text, as the model wrote it. */
  readonly arguments: string;
}

/** One message, content already flattened to text. */
export interface ChatMessage {
  readonly role: ChatRole;
  readonly content: string;
  /** Who speaks, for templates that write it. */
  readonly name?: string;
  /** Of an assistant. */
  readonly toolCalls?: readonly ToolCall[];
  /** Of a tool: which call this is the result of. */
  readonly toolCallId?: string;
}

/** A function that a model may call. */
export interface ToolDefinition {
  readonly name: string;
  readonly description: string | null;
  /** JSON Schema of the arguments, as JSON text. */
  readonly parameters: string;
}
