/**
 * Calls functions of the program around the bridge, whatever they do: an error that nobody handles, also a promise that rejects
 * where none was expected, would end the process.
 */

/** Handles the rejection of a promise that a function returned although nothing awaits its result. */
export function onRejection(result: unknown, handle: (error: unknown) => void): void {
  if (result instanceof Promise) result.catch(handle);
}

/** Calls a function; `handle` gets what it throws, or rejects with later. */
export function attempt(act: () => unknown, handle: (error: unknown) => void): void {
  try {
    onRejection(act(), handle);
  } catch (error) {
    handle(error);
  }
}
