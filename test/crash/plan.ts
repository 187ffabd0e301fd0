/**
 * The plan of a round: the processes that follow each other on one data directory, the behaviour of their backend, and how
 * each of them ends. The last process finds its backend up, or coming up, and is stopped normally.
 */
import type { Behaviour } from './backend.js';
import type { Random } from './random.js';

/**
 * Each but `stopped` ends by SIGKILL:
 * `quiet`: `after_ms` after the last of `lines` lines;
 * `lines`: with the last of `lines` lines;
 * `time`: `after_ms` after the start, whatever is done until then;
 * `requests`: when the backends have seen `requests` requests, or after the last of `lines` lines;
 * `stopping`: `after_ms` after SIGTERM;
 * `stopped`: by SIGTERM `after_ms` after the last of `lines` lines, and its own exit.
 */
export interface Ending {
  how: 'quiet' | 'lines' | 'time' | 'requests' | 'stopping' | 'stopped';
  lines: number;
  after_ms: number;
  requests: number;
}

export interface Life {
  behaviour: Behaviour;
  ending: Ending;
}

const QUIET_MS = 1_200;
const BUSY = ['lines', 'time', 'time', 'requests', 'requests', 'stopping'] as const;

function planEnding(random: Random, how: Ending['how']): Ending {
  const ending = { how, lines: random.int(1, 150), after_ms: 0, requests: random.int(1, 20) };
  switch (how) {
    case 'quiet':
      return { ...ending, after_ms: QUIET_MS + random.int(50, 300) };
    case 'time':
      return { ...ending, lines: 1_000, after_ms: random.int(50, random.pick([800, 2_500])) };
    case 'requests':
      return { ...ending, lines: 400 };
    case 'stopped':
      return { ...ending, after_ms: random.int(300, 800) };
    case 'stopping':
      return { ...ending, after_ms: random.int(0, 400) };
    default:
      return ending;
  }
}

/** One kill in four comes in a quiet moment. A normal stop in between does not count as a kill. */
export function planLives(random: Random, behaviour: Behaviour, kills: number): Life[] {
  const quiet_kills = Math.floor(kills / 4) + (random.chance((kills % 4) / 4) ? 1 : 0);
  const hows: Ending['how'][] = Array.from({ length: kills }, (_, index) =>
    index < quiet_kills ? 'quiet' : random.pick(BUSY),
  );
  if (kills > 0 && random.chance(0.5)) hows.push('stopped');
  return random.shuffle(hows).map((how) => ({
    // Up now and then, so that some pending data is delivered between two kills.
    behaviour: random.chance(0.7) ? behaviour : 'up',
    ending: planEnding(random, how),
  }));
}
