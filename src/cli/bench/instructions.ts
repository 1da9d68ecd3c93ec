/** What to ask a model when no prompts are given: short, everyday, of many kinds. */
export const instructions: readonly string[] = [
  "Explain how a rainbow is made.",
  "Give three tips for staying healthy.",
  "Write a short poem about the sea.",
  "What is the capital of France?",
  "Describe the life of a honey bee.",
  "List five things to pack for a trip to the mountains.",
  "Rewrite this sentence in a friendly tone: The meeting is moved to Monday.",
  "Why do leaves change their color in autumn?",
  "Tell a story about a fox who wanted to learn to swim.",
  "Name the planets of the solar system.",
  "How does a bicycle stay upright?",
  "Suggest a name for a small bakery and say why it fits.",
  "Summarize what a library is for in one sentence.",
  "What is the difference between weather and climate?",
  "Write a polite letter that asks a neighbor to feed the cat.",
  "Give an example of a renewable source of energy and how it works.",
  "Describe the taste of a ripe peach.",
  "Explain to a child why the sky is blue.",
  "List three advantages of learning a second language.",
  "What should one do when the power goes out at night?",
  "Write a dialogue between a teacher and a curious student.",
  "How is bread made?",
  "Sort these numbers from small to large: 12, 5, 9, 30, 1.",
  "Invent a simple game that can be played with a ball and a wall.",
];

const code = `function total(items) {
  let sum = 0;
  for (const item of items) {
    sum += item.price * item.count;
  }
  return sum;
}

function average(items) {
  let sum = 0;
  for (const item of items) {
    sum += item.price;
  }
  return sum / items.length;
}`;

const people = `[{"name": "Ada Lovelace", "born": 1815, "city": "London"},
{"name": "Alan Turing", "born": 1912, "city": "London"},
{"name": "Grace Hopper", "born": 1906, "city": "New York"},
{"name": "Emmy Noether", "born": 1882, "city": "Erlangen"}]`;

const article = `A lighthouse is a tower with a light at its top, built where ships have to be told of the coast at night. The
first ones burned wood and coal in open baskets, and their keepers carried the fuel up the stairs. Oil lamps with
mirrors behind them came in the eighteenth century. In 1822 Augustin Fresnel had the first of his lenses lit: rings of
glass that gather nearly all of a lamp's light into one beam, seen from more than thirty kilometres away. Today most
lighthouses work without a keeper, and many ships find their way by satellites alone.`;

/** Answers to these say again much of what stands in them: code, data and texts to be changed a little. */
export const edits: readonly string[] = [
  `Repeat this code exactly, but rename sum to total:\n\`\`\`js\n${code}\n\`\`\``,
  `Write this as a JSON array of objects with the same keys, sorted by year:\n${people}`,
  `Correct the spelling in this text and write the whole text again:\n${article.replaceAll("light", "lihgt")}`,
  `Add a comment to each line of this code:\n\`\`\`js\n${code}\n\`\`\``,
  `Copy this list of people as a Markdown table:\n${people}`,
  `Summarise this text in three sentences, in its own words where you can:\n${article}`,
  `Explain what this code does, and quote each line:\n\`\`\`js\n${code}\n\`\`\``,
  `What happened in 1822? Quote the sentence, then say it in your own words.\n${article}`,
];
