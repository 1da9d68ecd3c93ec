/**
 * The text that `convert` runs through a model when it is not given another: prose, facts, talk, lists and code, about
 * 1,300 tokens, written for this purpose. What matters is that the model's channels are used as they usually are, not
 * what it says.
 */
export const calibrationText = `The harbour lies on the north side of the island, where the cliffs give way to a shallow bay. Until the middle of the nineteenth century it was used by fishing boats alone; the stone pier was built in 1861, after two winters in which the mail could not be landed for weeks. Today a ferry calls twice a day in summer and three times a week from October to April. Most of the two hundred inhabitants live in the village above the pier, in low houses of grey stone whose roofs are weighted against the wind. Sheep are kept on the western slopes, and since 1998 three turbines have supplied about four fifths of the electricity.

Question: Why does bread dough rise?
Answer: Yeast is a living organism. It feeds on the sugars in the flour and gives off carbon dioxide and a little alcohol. The gas is caught in a net of gluten, which forms when the flour is wetted and kneaded, so the dough swells. In the oven the bubbles expand once more, the yeast dies at about 55 °C, and the walls between the bubbles set.

"You can't be serious," said Marta, putting down her cup. "He left the keys in the door again?"
"On Tuesday and on Thursday. I asked him about it, and do you know what he told me? That nobody would steal a car as old as his."
She laughed. "Well, he may be right about that."
They sat for a while without speaking. Outside, the rain had stopped, and a boy on a bicycle rode slowly through every puddle in the street.

Here are five things to check before a long walk:
1. The weather: look at the forecast for the whole day, not only for the morning.
2. Shoes that have been worn before; new ones hurt after the first hour.
3. Water, at least a litre for each person, and something to eat.
4. A map on paper. Batteries are empty when they are needed most.
5. Tell somebody where you are going and when you expect to be back.

def moving_average(values, width):
    """Mean of each run of \`width\` neighbouring values."""
    if width < 1 or width > len(values):
        raise ValueError(f"width must be between 1 and {len(values)}, not {width}")
    total = sum(values[:width])
    means = [total / width]
    for index in range(width, len(values)):
        total += values[index] - values[index - width]
        means.append(total / width)
    return means

The second law of thermodynamics says that heat does not pass by itself from a colder body to a warmer one. A refrigerator seems to do just that, but it needs work from outside: the compressor presses a gas together, the gas grows hot and gives its heat to the room, and when it is allowed to expand behind a narrow valve it becomes colder than the food. Altogether more heat is set free at the back than is taken away inside. In symbols, for a cycle between the temperatures T1 and T2, the efficiency of any engine is at most 1 - T2/T1; with T1 = 600 K and T2 = 300 K no more than half of the heat can become work.

User: Could you write a short message to my landlord? The heating has been broken since Saturday.
Assistant: Of course. Dear Ms. Brandt, since Saturday evening the heating in my flat (second floor, left) has not been working, and the rooms are now at about 14 degrees. Could you please arrange for somebody to look at it as soon as possible? I am at home every day after 4 p.m., and on Friday all day. Thank you very much, and kind regards.
User: Thanks! Make it a bit more urgent, please, and shorter.
Assistant: Dear Ms. Brandt, the heating in my flat has been broken since Saturday and it is only 14 degrees here. Please send a technician today or tomorrow. I can be at home at any time. Kind regards.

{"order": 20417, "customer": {"name": "A. Lindqvist", "city": "Uppsala"}, "items": [{"sku": "B-220", "count": 2, "price": 14.5}, {"sku": "K-031", "count": 1, "price": 129.0}], "paid": true, "note": null}

| planet | distance from the sun (million km) | moons | length of the year |
| --- | --- | --- | --- |
| Mercury | 58 | 0 | 88 days |
| Earth | 150 | 1 | 365.25 days |
| Jupiter | 778 | more than 90 | 11.9 years |

Once there was an old clock that was never right. In the morning it was slow, because it liked to sleep; at noon it was fast, because it was hungry; and at night it stopped altogether and listened to the mice. The clockmaker took it apart, cleaned every wheel, and put it together again, and nothing changed. "Leave it as it is," said his daughter. "We have four others that tell the time. This one tells us how it feels."

The committee approved the budget by seven votes to four. Spending on schools rises by 3.2 percent, to 48.6 million; the road programme, which had been the subject of a long debate, is put off until next spring. Members of the opposition criticised the decision as short-sighted. "We are saving on the very thing that brings people here," one of them said after the meeting. The mayor replied that the town could not spend money it did not have, and that the bridge would be repaired in any case before the end of the year.

import { readFile } from "node:fs/promises";

export async function countWords(path: string): Promise<Map<string, number>> {
  const counts = new Map<string, number>();
  for (const word of (await readFile(path, "utf8")).toLowerCase().match(/[a-z]+/g) ?? []) {
    counts.set(word, (counts.get(word) ?? 0) + 1);
  }
  return counts; // the most frequent ones are "the", "of" and "and"
}

To multiply 24 by 17, multiply 24 by 10 and by 7 and add the results: 240 + 168 = 408. A quick check: 25 times 16 is 400, which is close, so the answer is reasonable. If three tickets cost 22.50, one costs 7.50 and eight cost 60.
`;
