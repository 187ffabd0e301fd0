/**
 * How far a gateway has been followed, for the process that goes on from there. While the past is asked for, what is pushed
 * waits or goes out ahead of it, so that the position stands still: it is never ahead of what has been given out.
 */
import type { OpenRun } from './facts.js';

/** How far a gateway has been followed, in epoch milliseconds by its own clock. */
export interface GatewayPosition {
  /** Everything up to here has been seen. */
  seen_ms: number;
  /** When it was followed for the first time: nothing from before is wanted. */
  first_ms: number;
  /** The gateway's process. */
  boot_id?: string;
  /** The run that goes on in each session. */
  open_runs: Record<string, OpenRun>;
}

export interface Progress {
  /** Everything that was told up to then has been given out, by the gateway's clock. */
  see(told_ms: number, boot_id: string | undefined): void;
  /** From now on what has been given out is not everything, until `goOn`. */
  stand(): void;
  goOn(): void;
  /** The position without its runs, which can be thousands; undefined where nothing has been seen. */
  last(): Omit<GatewayPosition, 'open_runs'> | undefined;
  /** A copy, which does not change any more. */
  position(): GatewayPosition | undefined;
}

/** `open_runs` are those of everything that has been seen, and change as more is. */
export function createProgress(
  resume: GatewayPosition | undefined,
  open_runs: Readonly<Record<string, OpenRun>>,
): Progress {
  let { seen_ms, first_ms, boot_id }: Partial<GatewayPosition> = resume ?? {};
  /** Present while it stands still. */
  let standing = resume;

  const last = (): Omit<GatewayPosition, 'open_runs'> | undefined =>
    seen_ms === undefined || first_ms === undefined
      ? undefined
      : { seen_ms, first_ms, ...(boot_id === undefined ? {} : { boot_id }) };

  function position(): GatewayPosition | undefined {
    const seen = last();
    return seen && { ...seen, open_runs: { ...open_runs } };
  }

  return {
    see(told_ms, boot_id_now) {
      seen_ms = told_ms;
      first_ms ??= told_ms;
      boot_id = boot_id_now;
    },
    stand() {
      standing ??= position();
    },
    goOn() {
      standing = undefined;
    },
    last: () => standing ?? last(),
    position: () => standing ?? position(),
  };
}
