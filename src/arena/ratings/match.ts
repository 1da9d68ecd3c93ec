/** What a judge can say of two answers. */
export const winners = ["left", "right", "tie", "bothBad"] as const;
export type Winner = (typeof winners)[number];

/** One judged battle, as far as statistics care. */
export interface Match {
  readonly left: string;
  readonly right: string;
  readonly winner: Winner;
  /** Characters of the answers; null where the answers are not known. */
  readonly leftCharacters: number | null;
  readonly rightCharacters: number | null;
  /**
   * What was said of the two *places* that the judge saw, once for each time of asking; a judge asked in both orders
   * says it twice. Default: the winner, since left and right are the places of people's votes.
   */
  readonly places?: readonly Winner[];
}

/**
 * A contestant's share of a match. "Both bad" is half a win for each, as a tie: it says that neither was better, which
 * is all that a comparison can use of it.
 * @see Zheng et al., "Chatbot Arena", arXiv 2403.04132; FastChat's rating code counts `tie (bothbad)` as a tie too.
 */
export function leftScore(winner: Winner): 0 | 0.5 | 1 {
  switch (winner) {
    case "left":
      return 1;
    case "right":
      return 0;
    case "tie":
    case "bothBad":
      return 0.5;
  }
}
