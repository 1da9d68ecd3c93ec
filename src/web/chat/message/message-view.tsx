import { useMemo } from "preact/hooks";
import type { AssistantMessage, Message } from "../conversation.js";
import { AssistantView } from "./assistant-view.js";
import { UserView } from "./user-view.js";
import "./message-view.css";

/** One message as it stands; rendered again only when it has changed itself, not with every token of another. */
export function MessageView({
  message,
  versions,
  compared,
  isLast,
}: {
  readonly message: Message;
  /** Ids of all that stand in its place, the oldest first. */
  readonly versions: readonly string[];
  /** What an answer is to be compared with. */
  readonly compared: AssistantMessage | null;
  readonly isLast: boolean;
}) {
  return useMemo(
    () =>
      message.role === "user" ? (
        <UserView message={message} versions={versions} />
      ) : (
        <AssistantView message={message} versions={versions} compared={compared} isLast={isLast} />
      ),
    [message, versions.join(), compared, isLast],
  );
}
