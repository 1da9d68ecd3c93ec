import type { TargetedEvent } from "preact";
import { isSteeredBase, modelOf } from "../../session.js";
import { inSteeringView, steeringStart } from "../../share-link.js";
import "./why-this-answer.css";

/**
 * Leads to the Steering view with all that made an answer; nothing for a model that nothing steers.
 * @param link written when somebody is about to follow it: it holds the whole conversation.
 */
export function WhyThisAnswer({ link, model }: { readonly link: () => string; readonly model: string }) {
  const root = modelOf(model)?.root;
  if (root === undefined || !isSteeredBase(root)) return null;
  const write = ({ currentTarget }: TargetedEvent<HTMLAnchorElement>) => {
    currentTarget.href = inSteeringView(link());
  };
  return (
    <a class="button quiet why" href={steeringStart} onPointerDown={write} onFocus={write} onClick={write}>
      Why this answer
    </a>
  );
}
