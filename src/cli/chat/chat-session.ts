import { writeFile } from "node:fs/promises";
import { createInterface, type Interface } from "node:readline";
import { ToastError } from "../../errors.js";
import type { ChatServer } from "./chat-server.js";
import type { Conversation } from "./conversation.js";
import { LineJoiner } from "./line-joiner.js";
import { runSlashCommand } from "./slash-command.js";

/** Where a person types and reads. */
export interface ChatScreen {
  readonly input: NodeJS.ReadableStream;
  readonly output: NodeJS.WritableStream;
}

const prompt = "> ";
const continuedPrompt = "… ";

/** A talk at a terminal: questions, commands that begin with a slash, answers as they come. */
export class ChatSession {
  readonly #server: ChatServer;
  readonly #conversation: Conversation;
  readonly #screen: ChatScreen;
  readonly #joiner = new LineJoiner();
  readonly #lines: Interface;
  /** Of the answer that is coming; null between answers. */
  #answering: AbortController | null = null;
  /** Whether the last thing that a person did was Ctrl-C at an empty prompt. */
  #isLeaving = false;
  #isOver = false;

  constructor(server: ChatServer, conversation: Conversation, screen: ChatScreen) {
    this.#server = server;
    this.#conversation = conversation;
    this.#screen = screen;
    this.#lines = createInterface({
      ...screen,
      terminal: true,
      prompt,
      historySize: 1000,
      removeHistoryDuplicates: true,
    });
  }

  /** @param stop leaves. @returns when the person does. */
  async run(stop: AbortSignal): Promise<void> {
    const leave = () => this.#leave();
    stop.addEventListener("abort", leave, { once: true });
    this.#lines.on("SIGINT", () => this.#interrupt());
    this.#lines.on("close", leave);
    try {
      if (stop.aborted) return;
      this.#prompt();
      for await (const line of this.#lines) {
        this.#isLeaving = false;
        const message = this.#joiner.push(line);
        if (message !== null && message.trim() !== "") await this.#handle(message);
        if (this.#isOver) return;
        this.#prompt();
      }
    } finally {
      stop.removeEventListener("abort", leave);
      this.#leave();
    }
  }

  async #handle(message: string): Promise<void> {
    try {
      if (!message.startsWith("/")) {
        await this.#ask(message);
        return;
      }
      const outcome = await runSlashCommand(message, this.#conversation, this.#server);
      switch (outcome.kind) {
        case "print":
          for (const line of outcome.lines) this.#print(line);
          break;
        case "ask":
          await this.#ask(outcome.question);
          break;
        case "save":
          await this.#save(outcome.file);
          break;
        case "leave":
          this.#leave();
          break;
      }
    } catch (error) {
      if (!(error instanceof ToastError)) throw error;
      this.#print(error.message);
    }
  }

  /** A question that gets no answer at all is not part of the talk. */
  async #ask(question: string): Promise<void> {
    const controller = new AbortController();
    this.#answering = controller;
    let answer = "";
    try {
      for await (const text of this.#server.answer(this.#conversation.requestFor(question), controller.signal)) {
        answer += text;
        this.#screen.output.write(text);
      }
    } catch (error) {
      if (!controller.signal.aborted) throw error;
    } finally {
      this.#answering = null;
      if (answer !== "") {
        this.#conversation.add(question, answer);
        this.#screen.output.write("\n");
      }
      if (controller.signal.aborted && !this.#isOver) this.#print("(stopped)");
    }
  }

  async #save(file: string): Promise<void> {
    const text = this.#conversation.transcript(file.endsWith(".json") ? "json" : "markdown");
    try {
      await writeFile(file, text, { flag: "wx" });
      this.#print(`Saved to ${file}.`);
    } catch (cause) {
      const code = cause instanceof Error && "code" in cause ? String(cause.code) : String(cause);
      this.#print(code === "EEXIST" ? `${file} is there already; choose another name.` : `${file}: ${code}.`);
    }
  }

  /** Ctrl-C: stops the answer, or drops what was typed, or leaves when there is neither and it comes twice. */
  #interrupt(): void {
    if (this.#answering !== null) {
      this.#answering.abort();
      return;
    }
    const isTyping = this.#lines.line !== "" || this.#joiner.isOpen;
    this.#joiner.drop();
    if (!isTyping && this.#isLeaving) {
      this.#leave();
      return;
    }
    this.#isLeaving = !isTyping;
    // Readline keeps the line that was typed; this is how its own Ctrl-U drops it.
    this.#lines.write(null, { ctrl: true, name: "e" });
    this.#lines.write(null, { ctrl: true, name: "u" });
    this.#print(isTyping ? "" : "\n(Ctrl-C again leaves)");
    this.#prompt();
  }

  #leave(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#answering?.abort();
    this.#lines.close();
  }

  #prompt(): void {
    this.#lines.setPrompt(this.#joiner.isOpen ? continuedPrompt : prompt);
    this.#lines.prompt();
  }

  #print(line: string): void {
    this.#screen.output.write(`${line}\n`);
  }
}
