/**
 * The printable stand-ins that byte-level BPE spells its bytes in: a visible Latin-1 character is itself, the others
 * follow from U+0100 on in order.
 */
export const characterOfByte: readonly string[] = (() => {
  let next = 0x100;
  return Array.from({ length: 256 }, (_, byte) => {
    const visible = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte !== 0xad);
    return String.fromCharCode(visible ? byte : next++);
  });
})();

export const byteOfCharacter: ReadonlyMap<string, number> = new Map(
  characterOfByte.map((character, byte) => [character, byte]),
);

const utf8Encoder = new TextEncoder();

/** A text's UTF-8, a character for each byte. */
export function inByteCharacters(text: string): string {
  let characters = "";
  for (const byte of utf8Encoder.encode(text)) characters += characterOfByte[byte];
  return characters;
}
