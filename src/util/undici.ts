/**
 * The parts of undici that the bridge uses, by their own paths: its index makes an agent of its own the one of the process, where
 * Node's `fetch` looks for it, and that is the business of the program that the library is in. The version is pinned, since
 * paths within a package are no promise.
 */
import type { Agent as AgentType, Dispatcher, Pool as PoolType, ProxyAgent as ProxyAgentType } from 'undici';
// @ts-expect-error: types are there for the index alone.
import api from 'undici/lib/api/index.js';
// @ts-expect-error: the same.
import agent from 'undici/lib/dispatcher/agent.js';
// @ts-expect-error: the same.
import dispatcher from 'undici/lib/dispatcher/dispatcher.js';
// @ts-expect-error: the same.
import pool from 'undici/lib/dispatcher/pool.js';
// @ts-expect-error: the same.
import proxyAgent from 'undici/lib/dispatcher/proxy-agent.js';

// As the index does it: tunnels need it.
Object.assign(dispatcher.prototype, api);

export type { Dispatcher };
export const Agent: typeof AgentType = agent;
export const Pool: typeof PoolType = pool;
export const ProxyAgent: typeof ProxyAgentType = proxyAgent;

/** One request, over a connection of its own, which ends with it. Rejects where it gets no answer. */
export function request(
  url: string,
  options: Pick<Dispatcher.RequestOptions, 'method' | 'headers' | 'body' | 'signal'>,
): Promise<Dispatcher.ResponseData> {
  const { origin, pathname, search } = new URL(url);
  // Without pipelining a connection is not kept for the next request.
  return new Agent({ pipelining: 0 }).request({ ...options, origin, path: pathname + search });
}

/** The beginning of a body, as text; the rest of it is not read. Rejects where it breaks off before. */
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
