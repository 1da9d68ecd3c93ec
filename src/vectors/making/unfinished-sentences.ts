/**
 * Beginnings that a person in a role goes on with, each in a way of their own: what the model is about to say at
 * their last
 * token is what tells two roles apart. Of everyday things, long and short, of several persons and tenses, so that
 * what they
 * have in common is the role alone.
 */
export const unfinishedSentences: readonly string[] = [
  "I think",
  "The food was",
  "My day started with",
  "When I look out of the window,",
  "People often tell me that",
  "Yesterday I went",
  "Let me explain why",
  "The weather today is",
  "To be honest,",
  "This city is",
  "What I want most is",
  "The music made me",
  "If you ask me about work,",
  "My best friend",
  "After a long week,",
  "The first thing to do is",
  "It was a",
  "I still remember",
  "Money is",
  "The sea looks",
  "You should always",
  "The trouble with mornings is",
  "Tomorrow we will",
  "Well, the answer is",
];

/**
 * Questions that ask for no mood and no manner: a vector is tried on them. Of ranges found on three, every fourth held
 * a strength at which fifty say that the text has come apart; on twelve hardly any does (scripts/LOG.md).
 */
export const neutralPrompts: readonly string[] = [
  "What do you think about Monday mornings?",
  "Describe a walk through a town.",
  "How do I make a cup of tea?",
  "Tell me about your family.",
  "What happens in an office?",
  "How do I get to the station?",
  "Describe a river.",
  "What do you think about cooking?",
  "Tell me about a letter that came today.",
  "How do I mend a chair?",
  "Describe a room with two windows.",
  "What can one do on a Sunday?",
];
