/** What a person has typed to make a vector of; pure, so that its sentences can be tested. */
export interface Sides {
  readonly positive: string;
  readonly negative: string;
  readonly name: string;
}

export interface SideProblem {
  readonly field: keyof Sides;
  readonly sentence: string;
}

/** As the server has it. */
const namePattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,95}$/;
const mostCharacters = 300;
/** One letter describes nobody. */
const fewestCharacters = 2;

/**
 * What keeps the sides from becoming a vector, said before the server is asked.
 * @param taken names of the vectors that the model has.
 * @returns one sentence a field at most, in their order.
 */
export function sideProblems({ positive, negative, name }: Sides, taken: readonly string[]): readonly SideProblem[] {
  const problems: SideProblem[] = [];
  for (const [field, text] of [
    ["positive", positive],
    ["negative", negative],
  ] as const) {
    const { length } = text.trim();
    if (length < fewestCharacters) {
      const example = field === "positive" ? "a pirate" : "an ordinary person";
      problems.push({ field, sentence: `Too short: describe somebody in a word or more, such as “${example}”.` });
    } else if (length > mostCharacters) {
      problems.push({ field, sentence: `Too long: ${length} characters, and ${mostCharacters} at most are read.` });
    }
  }
  if (problems.length === 0 && positive.trim().toLowerCase() === negative.trim().toLowerCase()) {
    const sentence = "Both sides say the same. A vector points from one to the other, so let them differ.";
    problems.push({ field: "negative", sentence });
  }
  const wanted = name.trim();
  if (taken.includes(wanted)) {
    const sentence = `There is a vector “${wanted}” already. Choose another name, or delete that one first.`;
    problems.push({ field: "name", sentence });
  } else if (wanted === "") {
    problems.push({ field: "name", sentence: "It needs a name, by which requests will call it." });
  } else if (!namePattern.test(wanted)) {
    const sentence = "A name is made of letters, digits, “.”, “_” and “-”, begins with a letter or digit, 96 at most.";
    problems.push({ field: "name", sentence });
  }
  return problems;
}

/**
 * A name for what is described, that is free: “a pirate” becomes `pirate`, or `pirate-2`.
 * @returns empty for a description without a letter or digit.
 */
export function nameFor(description: string, taken: readonly string[]): string {
  const words = description
    .normalize("NFKD")
    .toLowerCase()
    .replace(/\p{M}/gu, "")
    .split(/[^a-z0-9]+/)
    .filter((word) => word !== "" && !["a", "an", "the", "very", "extremely", "and"].includes(word));
  const name = words.slice(0, 3).join("-").slice(0, 40).replace(/-$/, "");
  return name === "" ? "" : freeName(name, taken);
}

export function freeName(name: string, taken: readonly string[]): string {
  let free = name;
  for (let number = 2; taken.includes(free); number++) free = `${name}-${number}`;
  return free;
}
