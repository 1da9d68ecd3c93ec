/** Two sides that a small model tells apart well, with a prompt that shows the difference. */
export interface VectorExample {
  readonly label: string;
  readonly name: string;
  readonly positive: string;
  readonly negative: string;
  readonly examplePrompt: string;
}

/** Each was made with the default model, and its texts read, before it came here. */
export const vectorExamples: readonly VectorExample[] = [
  {
    label: "happy / sad",
    name: "happy",
    positive: "extremely happy",
    negative: "extremely sad",
    examplePrompt: "What do you think about Monday mornings?",
  },
  {
    label: "pirate / ordinary person",
    name: "pirate",
    positive: "a pirate",
    negative: "an ordinary person",
    examplePrompt: "Tell me about your day.",
  },
  {
    label: "formal / casual",
    name: "formal",
    positive: "a formal and polite diplomat",
    negative: "a casual teenager",
    examplePrompt: "What do you think about Monday mornings?",
  },
  {
    label: "poet / engineer",
    name: "poet",
    positive: "a romantic poet",
    negative: "a dry engineer",
    examplePrompt: "Describe a walk through a town.",
  },
  {
    label: "robot / warm friend",
    name: "robot",
    positive: "an emotionless robot",
    negative: "a warm and loving friend",
    examplePrompt: "How are you today?",
  },
  {
    label: "knight / office worker",
    name: "knight",
    positive: "a medieval knight",
    negative: "a modern office worker",
    examplePrompt: "Tell me about your day.",
  },
];
