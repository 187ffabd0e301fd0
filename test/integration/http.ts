/**
 * Requests to a backend's API.
 */

const TIMEOUT_MS = 30_000;

const get = (url: string): Promise<Response> => fetch(url, { signal: AbortSignal.timeout(TIMEOUT_MS) });

/** Whether there is any response, whatever its status. */
export const isAnswered = (url: string): Promise<boolean> =>
  get(url).then(
    async (answer) => {
      await answer.body?.cancel();
      return true;
    },
    () => false,
  );

/** The body of a response with status 200, `undefined` for a 404; throws for any other. */
export async function findJson<T>(url: string): Promise<T | undefined> {
  const answer = await get(url);
  if (answer.status === 404) {
    await answer.body?.cancel();
    return undefined;
  }
  if (answer.status !== 200) throw new Error(`${url}: ${answer.status} ${await answer.text()}`);
  return (await answer.json()) as T;
}

/** The body of a response with status 200; throws for any other. */
export async function getJson<T>(url: string): Promise<T> {
  const body = await findJson<T>(url);
  if (body === undefined) throw new Error(`${url}: 404`);
  return body;
}
