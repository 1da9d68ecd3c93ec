import type { Conversation } from "../conversation.js";

export interface HistoryGroup {
  readonly name: string;
  readonly conversations: readonly Conversation[];
}

/**
 * Conversations by the day on which they were touched last, in their own order.
 * @param now milliseconds since 1970; days are those of the reader's clock.
 */
export function groupsByDay(conversations: readonly Conversation[], now: number): readonly HistoryGroup[] {
  const groups = new Map<string, Conversation[]>();
  for (const conversation of conversations) {
    const name = groupOf(conversation.updatedAt, now);
    groups.set(name, [...(groups.get(name) ?? []), conversation]);
  }
  return [...groups].map(([name, own]) => ({ name, conversations: own }));
}

function groupOf(at: number, now: number): string {
  if (at >= startOfDay(now, 0)) return "Today";
  if (at >= startOfDay(now, 1)) return "Yesterday";
  if (at >= startOfDay(now, 7)) return "Previous 7 days";
  if (at >= startOfDay(now, 30)) return "Previous 30 days";
  return new Intl.DateTimeFormat("en", { month: "long", year: "numeric" }).format(at);
}

/** By the calendar: not every day has 24 hours. */
function startOfDay(now: number, daysBefore: number): number {
  const day = new Date(now);
  return new Date(day.getFullYear(), day.getMonth(), day.getDate() - daysBefore).getTime();
}
