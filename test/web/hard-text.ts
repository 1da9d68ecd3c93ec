const row = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
const columns = Array.from({ length: 14 }, (_, at) => `column number ${at}`);

/** What breaks a layout: a 300-character line of code, a table of 14 columns, CJK, Arabic, emoji, a 400-character word. */
export const hardText = [
  `\`\`\`\n${"const value = compute(argument); ".repeat(10)}\n\`\`\``,
  [row(columns), row(columns.map(() => "---")), row(columns)].join("\n"),
  "漢字かな交じり文".repeat(40),
  "هذا نص طويل باللغة العربية ".repeat(20),
  "🍞".repeat(120),
  "w".repeat(400),
].join("\n\n");
