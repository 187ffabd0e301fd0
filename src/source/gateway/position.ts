/**
 * How far a gateway has been followed, so that the next process can resume from there. During a backfill, pushed events are
 * held back or emitted ahead of older ones, so the position is frozen: it is never ahead of what has been emitted.
 */
import { withoutUndefined } from '../../util/json.js';
import type { OpenRun } from './backfill/facts.js';

/** How far a gateway has been followed, in epoch milliseconds by its own clock. */
export interface GatewayPosition {
  /** Everything up to this time has been seen. */
  seen_ms: number;
  /** When it was followed for the first time: nothing older is wanted. */
  first_ms: number;
  /** Identifies the gateway's process. */
  boot_id?: string;
  /** Identifies the OpenClaw, which keeps its id when its gateway restarts or moves; absent if it has never been told. */
  openclaw_id?: string;
  /** The open run of each session, by session key. */
  open_runs: Record<string, OpenRun>;
}

export interface Progress {
  /** Takes in which OpenClaw answers. Returns whether an earlier answer was another one's; its position is then forgotten. */
  identify(openclaw_id: string): boolean;
  /** Everything that the gateway sent up to `frame_ms`, by its own clock, has been emitted. */
  see(frame_ms: number, boot_id: string | undefined): void;
  /** Freezes the position until `unfreeze`: events are held back, or emitted ahead of older ones. */
  freeze(): void;
  unfreeze(): void;
  /** The position without its runs, which can be thousands; undefined if nothing has been seen. */
  last(): Omit<GatewayPosition, 'open_runs'> | undefined;
  /** A copy, which no longer changes. */
  position(): GatewayPosition | undefined;
}

/** `open_runs` is updated with every event that is seen. */
export function createProgress(
  resume: GatewayPosition | undefined,
  open_runs: Readonly<Record<string, OpenRun>>,
): Progress {
  let { seen_ms, first_ms, boot_id, openclaw_id }: Partial<GatewayPosition> = resume ?? {};
  /** The frozen position; undefined while it is not frozen. */
  let standing = resume;

  const last = (): Omit<GatewayPosition, 'open_runs'> | undefined =>
    seen_ms === undefined || first_ms === undefined
      ? undefined
      : { seen_ms, first_ms, ...withoutUndefined({ boot_id, openclaw_id }) };

  function position(): GatewayPosition | undefined {
    const seen = last();
    return seen && { ...seen, open_runs: { ...open_runs } };
  }

  return {
    identify(id) {
      const is_another = openclaw_id !== undefined && openclaw_id !== id;
      openclaw_id = id;
      if (is_another) seen_ms = first_ms = boot_id = standing = undefined;
      return is_another;
    },
    see(frame_ms, boot_id_now) {
      seen_ms = frame_ms;
      first_ms ??= frame_ms;
      boot_id = boot_id_now;
    },
    freeze() {
      standing ??= position();
    },
    unfreeze() {
      standing = undefined;
    },
    last: () => standing ?? last(),
    position: () => standing ?? position(),
  };
}
