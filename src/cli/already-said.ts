/** What ended a command is in its log: it need not be said again, but counts as what it was. */
export class AlreadySaid extends Error {
  constructor(cause: unknown) {
    super("It is in the log.", { cause });
  }
}
