/**
 * What waits of collected requests that were taken apart. A backend that adds up takes no point that is older than one before it
 * of the same series: so a part waits while something older of its series is suspect. Of a series that was poison before, one
 * point tells whether it still is: else each collection would have to be searched for it again.
 */
import type { LaneItem } from './queue.js';

/** While so many parts wait, nothing more is taken apart. */
const MANY = 256;
/** The most series that are remembered as poison; over it the one that was tried least recently is forgotten. */
const MAX_POISONOUS = 4_096;

export class Parts<T> {
  /** Oldest first. */
  #waiting: LaneItem<T>[] = [];
  /** Series whose last point was poison, the one that was tried least recently first. */
  readonly #poisonous = new Set<string>();

  get size(): number {
    return this.#waiting.length;
  }

  get areMany(): boolean {
    return this.#waiting.length >= MANY;
  }

  /** Whether what comes next can go as it is. */
  isFree(suspects: ReadonlySet<string>): boolean {
    return this.#waiting.length === 0 && this.#poisonous.size === 0 && suspects.size === 0;
  }

  wait(parts: readonly LaneItem<T>[]): void {
    for (const part of parts) this.#waiting.push(part);
  }

  /** The oldest that may be sent, all of one request; what may be poison goes last, and alone. */
  take(suspects: ReadonlySet<string>): LaneItem<T>[] {
    const before = new Set(suspects);
    const ready = this.#waiting.filter((item) => {
      const series = seriesOf(item);
      if (before.has(series)) return false;
      before.add(series);
      return true;
    });
    const innocent = ready.filter((item) => !this.#poisonous.has(seriesOf(item)));
    const taken = new Set(innocent.length > 0 ? ofFirstRequest(innocent) : this.#leastRecent(ready));
    this.#waiting = this.#waiting.filter((item) => !taken.has(item));
    return [...taken];
  }

  /** It was given up as poison. */
  remember(items: readonly LaneItem<T>[]): void {
    for (const { part } of items) {
      if (part === undefined) continue;
      this.#poisonous.delete(part.series);
      this.#poisonous.add(part.series);
    }
    for (const series of this.#poisonous) {
      if (this.#poisonous.size <= MAX_POISONOUS) break;
      this.#poisonous.delete(series);
    }
  }

  /** It was taken. */
  forget(items: readonly LaneItem<T>[]): void {
    if (this.#poisonous.size === 0) return;
    for (const item of items) this.#poisonous.delete(seriesOf(item));
  }

  /** Whether this is one point of a series that was poison before. */
  isTrial(items: readonly LaneItem<T>[]): boolean {
    const [item] = items;
    return items.length === 1 && item !== undefined && this.#poisonous.has(seriesOf(item));
  }

  /** Takes out all that waits of series that were poison before: to try each would hold what comes after. */
  giveUp(): LaneItem<T>[] {
    const given_up = this.#waiting.filter((item) => this.#poisonous.has(seriesOf(item)));
    this.#waiting = this.#waiting.filter((item) => !this.#poisonous.has(seriesOf(item)));
    return given_up;
  }

  #leastRecent(ready: LaneItem<T>[]): LaneItem<T>[] {
    for (const series of this.#poisonous) {
      const item = ready.find((each) => seriesOf(each) === series);
      if (item !== undefined) return [item];
    }
    return [];
  }
}

/** What is no part has no series, and so is never poison. */
const seriesOf = ({ part }: LaneItem<unknown>): string => part?.series ?? '';

const ofFirstRequest = <T>(items: LaneItem<T>[]): LaneItem<T>[] =>
  items.filter(({ part }) => part?.whole === items[0]?.part?.whole);
