const quote = 0x22;
const backslash = 0x5c;

/** The JSON scalar that a text ends with: a string, a number, or a word. Free text around JSON does no harm. */
export class LastScalar {
  #bytes: number[] = [];
  #place: "between" | "word" | "string" | "escape" = "between";

  append(bytes: Uint8Array): void {
    for (const byte of bytes) this.#read(byte);
  }

  /** Complete where the text may go on with something else. */
  get text(): string {
    return new TextDecoder().decode(Uint8Array.from(this.#bytes));
  }

  #read(byte: number): void {
    switch (this.#place) {
      case "escape":
        this.#place = "string";
        break;
      case "string":
        if (byte === backslash) this.#place = "escape";
        else if (byte === quote) this.#place = "between";
        break;
      default: {
        const isOfWord = /[\w.+-]/.test(String.fromCharCode(byte));
        if (this.#place === "between" && (isOfWord || byte === quote)) this.#bytes = [];
        this.#place = byte === quote ? "string" : isOfWord ? "word" : "between";
        if (this.#place === "between") return;
      }
    }
    this.#bytes.push(byte);
  }
}
