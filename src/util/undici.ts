/**
 * The parts of undici that the bridge uses, imported by their own paths: undici's index installs its own global agent, which
 * Node's `fetch` uses, and that is up to the program that embeds the library. The version is pinned, since paths within a
 * package may change.
 */
import type { Agent as AgentType, Dispatcher, Pool as PoolType, ProxyAgent as ProxyAgentType } from 'undici';
// @ts-expect-error: only the index has types.
import api from 'undici/lib/api/index.js';
// @ts-expect-error: see above.
import agent from 'undici/lib/dispatcher/agent.js';
// @ts-expect-error: see above.
import dispatcher from 'undici/lib/dispatcher/dispatcher.js';
// @ts-expect-error: see above.
import pool from 'undici/lib/dispatcher/pool.js';
// @ts-expect-error: see above.
import proxyAgent from 'undici/lib/dispatcher/proxy-agent.js';

// The index does the same: tunnels need it.
Object.assign(dispatcher.prototype, api);

export type { Dispatcher };
export const Agent: typeof AgentType = agent;
export const Pool: typeof PoolType = pool;
export const ProxyAgent: typeof ProxyAgentType = proxyAgent;

/** Sends one request over a connection of its own, which is closed afterwards. Rejects if there is no response. */
export function request(
  url: string,
  options: Pick<Dispatcher.RequestOptions, 'method' | 'headers' | 'body' | 'signal'>,
): Promise<Dispatcher.ResponseData> {
  const { origin, pathname, search } = new URL(url);
  // Without pipelining the connection is not reused.
  return new Agent({ pipelining: 0 }).request({ ...options, origin, path: pathname + search });
}

/** The beginning of a body, as text; the rest is not read. Rejects if the body breaks off before that. */
export async function readStart(body: Dispatcher.ResponseData['body'], max_bytes: number): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of body as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes >= max_bytes) break;
  }
  return Buffer.concat(chunks).toString('utf8', 0, max_bytes);
}
