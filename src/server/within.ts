/** @returns what `promise` resolves to, or "late" when it takes longer; the promise then goes on by itself. */
export async function within<Value>(promise: Promise<Value>, milliseconds: number): Promise<Value | "late"> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<"late">((resolve) => {
    timer = setTimeout(resolve, milliseconds, "late");
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
