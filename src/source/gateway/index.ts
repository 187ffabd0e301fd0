/**
 * The source `ws://…` and `wss://…`: follows a gateway until it is closed. It reconnects when the connection is lost, and asks
 * separately for the reasoning tokens, which the gateway does not push.
 */
import type { Source } from '../../model/source.js';
import { createNotifier } from '../notifier.js';
import { createReaderSource, type Push } from '../reader.js';
import { type Backoff, backoffDelay } from '../socket/socket.js';
import { type Access, enterGateway } from './connection/access.js';
import type { Connection, Ending } from './connection/connection.js';
import { isMendedByHand, type Refusal } from './connection/refusals.js';
import { createFeed } from './feed.js';
import type { GatewayPosition } from './position.js';

export type { OpenRun } from './backfill/facts.js';
export type { Access, Devices } from './connection/access.js';
export type { Credentials, Device } from './connection/handshake.js';
export type { GatewayPosition } from './position.js';

/** Backoff for a lost gateway: 1 s, doubled with each failure up to 30 s, less up to half at random. */
export const GATEWAY_BACKOFF: Backoff = { min_ms: 1_000, max_ms: 30_000 };

/** The retry interval after a refusal that somebody has to fix by hand. */
const MENDED_BY_HAND_WAIT_MS = 30_000;

/**
 * A connection that broke sooner than this counts as a failure, so that a gateway that keeps hanging up is retried with
 * backoff.
 */
const STABLE_MS = 10_000;

/** What is needed to follow a gateway. */
export interface GatewayOptions {
  access: Access;
  /** Where an earlier process stopped; if absent, nothing from before this start is wanted. */
  resume?: GatewayPosition | undefined;
  backoff: Backoff;
}

const describeEnding = ({ code, reason }: Ending): string =>
  reason === '' ? `code ${code}` : `code ${code}, ${reason}`;

/** Reports what is wrong, once until that changes. */
function createStatusReporter(push: Push, stop: AbortSignal) {
  let last_message: string | undefined;
  return {
    async down(message: string): Promise<void> {
      if (last_message === message || stop.aborted) return;
      last_message = message;
      await push({ kind: 'status', state: 'down', message });
    },
    async up(message: string, is_behind: boolean): Promise<void> {
      last_message = undefined;
      await push({ kind: 'status', state: 'up', message, is_behind });
    },
  };
}

async function keepFollowing(
  { access, resume, backoff }: GatewayOptions,
  push: Push,
  stop: AbortSignal,
): Promise<void> {
  const { name } = access;
  const report = createStatusReporter(push, stop);
  const feed = createFeed({ stream: name, push, resume, reportStatus: report.up, warn: report.down });
  const stopped = createNotifier();
  stop.addEventListener('abort', stopped.notify);
  let failures = 0;

  /** Returns the refusal if the gateway accepts the connection but refuses the subscription. */
  async function followOnce(connection: Connection): Promise<Refusal | undefined> {
    const { protocol, server_version } = connection.hello;
    const began_ms = performance.now();
    const following = `following the gateway at ${name} (OpenClaw ${server_version}, protocol ${protocol})`;
    const ending = await feed.follow(connection, stop, (is_behind) => void report.up(following, is_behind));
    if (performance.now() - began_ms > STABLE_MS) failures = 0;
    if ('kind' in ending) return ending;
    await report.down(
      `lost the gateway at ${name} (${describeEnding(ending)}); reconnecting until it answers`,
    );
    return undefined;
  }

  /** Follows the gateway until the connection ends; returns the refusal if it could not be followed. */
  async function followGateway(): Promise<Refusal | undefined> {
    const opened = await enterGateway(access, { onEvent: feed.onEvent, stop });
    if ('kind' in opened) return opened;
    if (!stop.aborted) return followOnce(opened);
    opened.close();
    return undefined;
  }

  async function reportRefusal(refusal: Refusal): Promise<void> {
    const when = isMendedByHand(refusal)
      ? `retrying every ${MENDED_BY_HAND_WAIT_MS / 1000} s`
      : 'retrying until it is available';
    await report.down(`the gateway at ${name} ${refusal.message}; ${when}`);
  }

  while (!stop.aborted) {
    const refused = await followGateway();
    if (refused !== undefined) await reportRefusal(refused);
    const wait_ms =
      refused !== undefined && isMendedByHand(refused)
        ? MENDED_BY_HAND_WAIT_MS
        : backoffDelay(failures, backoff);
    failures += 1;
    await stopped.wait(wait_ms);
  }
  await feed.flush();
}

/** Creates a source that never ends by itself and whose opening never fails: problems are reported as a status. */
export function createGatewaySource(options: GatewayOptions): Source {
  return createReaderSource(
    options.access.name,
    async (push, stop) => () => keepFollowing(options, push, stop),
  );
}
