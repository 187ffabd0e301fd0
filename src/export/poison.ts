/**
 * The search for poison on a lane: what an answer proves about the content of a batch, and what follows for the batch. The
 * evidence is in `suspects.ts`.
 */

import { type Batch, batchOf, countedItems } from './batch.js';
import { countOf } from './item.js';
import type { Ledger } from './ledger.js';
import type { LaneDivision, Parts } from './parts.js';
import { POISON } from './reasons.js';
import type { Schedule } from './schedule.js';
import { partsOf, REFUSALS_BEFORE_SUSPECT, type Suspects } from './suspects.js';

/**
 * What a refusal shows. `nothing`: the batch is to be retried. `suspect`: it may be refused for its content, and is sent again
 * as a suspect. `poison`: something was proved to be poison; this is no evidence against the backend, and needs no backoff.
 */
export type Finding = 'nothing' | 'suspect' | 'poison';

/** The circumstances of an answer. */
export interface Circumstances {
  now_ms: number;
  /** The duration of a request, as far as is known. */
  answer_ms: number;
  /** How many requests had failed in a row before this one. */
  failures: number;
}

export interface PoisonSearch<T> {
  /** A batch was accepted, which may prove others to be poison. */
  accepted(batch: Batch<T>, circumstances: Circumstances): void;
  /** A batch was refused, and its content may be the reason. */
  refused(batch: Batch<T>, message: string, circumstances: Circumstances): Finding;
}

export interface PoisonSearchOptions<T> {
  suspects: Suspects<T>;
  schedule: Schedule<T>;
  ledger: Ledger<T>;
  parts: Parts<T>;
  division?: LaneDivision<T> | undefined;
}

export function createPoisonSearch<T>(options: PoisonSearchOptions<T>): PoisonSearch<T> {
  const { suspects, schedule, ledger, parts, division } = options;

  function refusedSuspect(batch: Batch<T>, message: string, circumstances: Circumstances): Finding {
    // The previous request got through, so this is no outage.
    if (circumstances.failures === 0 && isKnown(batch)) {
      suspects.drop(batch);
      ledger.reject(batch, POISON, message);
      return 'poison';
    }
    if (suspects.refuse(batch, message)) divide(batch, circumstances);
    return rejectPoison(circumstances) ? 'poison' : 'suspect';
  }

  function refusedOther(batch: Batch<T>, message: string, circumstances: Circumstances): Finding {
    const is_suspect = suspects.refuseOther(batch);
    const is_refused_again = batch.refusals >= REFUSALS_BEFORE_SUSPECT;
    // The request before the first try got through, so this is no outage.
    if (is_refused_again && circumstances.failures < batch.refusals && isKnown(batch)) {
      ledger.reject(batch, POISON, message);
      return 'poison';
    }
    // On an ordered lane nothing else is sent during a retry, so another refusal would prove nothing.
    if (!is_suspect && !(is_refused_again && division !== undefined)) return 'nothing';
    suspect(batch, circumstances);
    return 'suspect';
  }

  const isKnown = ({ items }: Batch<T>): boolean =>
    division !== undefined && items.every(({ payload }) => division.isKnown(payload));

  /**
   * Makes a batch suspect. Suspects may be sent after newer items, and a preview must not follow a newer copy, so previews and
   * corrections are dropped.
   */
  function suspect(batch: Batch<T>, circumstances: Circumstances): void {
    if (batch.items.some(parts.mayBeDivided)) return suspectWhole(batch, circumstances);
    const kept = countedItems(batch);
    ledger.settle(batch.items.filter((item) => item.count === 0));
    if (kept.length > 0) suspects.add(batchOf(kept), circumstances.answer_ms);
  }

  /** Returns whether there was any. */
  function rejectPoison(circumstances: Circumstances): boolean {
    const poison = suspects.takePoison(circumstances.now_ms);
    for (const batch of poison) {
      if (batch.items.some(parts.hasParts)) suspectWhole(batch, circumstances);
      else {
        ledger.reject(batch, POISON, batch.message ?? '');
        for (const { payload } of batch.items) division?.remember(payload);
      }
    }
    return poison.length > 0;
  }

  function suspectWhole(batch: Batch<T>, circumstances: Circumstances): void {
    suspects.addWhole(batch);
    divide(batch, circumstances);
  }

  function divide(whole: Batch<T>, { answer_ms }: Circumstances): void {
    schedule.divide(whole, partsOf(countOf(whole.items), answer_ms));
  }

  return {
    accepted(batch, circumstances) {
      suspects.pass(batch, circumstances.now_ms);
      rejectPoison(circumstances);
    },
    refused: (batch, message, circumstances) =>
      suspects.isSuspect(batch)
        ? refusedSuspect(batch, message, circumstances)
        : refusedOther(batch, message, circumstances),
  };
}
