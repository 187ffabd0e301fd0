/**
 * Calls to a gateway that wait for their answers. A missing answer is reported as an error, like a refusal.
 */
import { isObject, type Json } from '../../../util/json.js';
import { type GatewayError, type ResponseFrame, request } from './frames.js';
import { type Shown, shownError } from './shown.js';

const CALL_TIMEOUT_MS = 15_000;

export type Answer = { ok: true; payload: Json } | { ok: false; error: GatewayError };

export type Call = (method: string, params: Json) => Promise<Answer>;

/** The code of a gateway that has just started, is about to stop, or is overloaded. */
export const BUSY = 'UNAVAILABLE';
const UNANSWERED = 'UNANSWERED';

/** Whether the gateway did not really answer the call: asked again later, it may. */
export const isNoAnswer = ({ code }: GatewayError): boolean => code === BUSY || code === UNANSWERED;

const unanswered = (message: string): Answer => ({
  ok: false,
  error: { code: UNANSWERED, message, details: {} },
});

const NO_REASON: GatewayError = { code: 'UNKNOWN', message: 'no reason given', details: {} };

export interface Calls {
  call: Call;
  settle(frame: ResponseFrame): void;
  /** The connection has ended: all calls end as unanswered, waiting and later ones. */
  end(): void;
}

/** The texts of the gateway's errors are made safe to show. */
export function createCalls(send: (text: string) => void, shown: Shown): Calls {
  const waiting = new Map<string, (answer: Answer) => void>();
  let calls = 0;
  let is_over = false;

  function settle(id: string, answer: Answer): void {
    const resolve = waiting.get(id);
    waiting.delete(id);
    resolve?.(answer);
  }

  return {
    call(method, params) {
      if (is_over) return Promise.resolve(unanswered('the connection is closed'));
      const id = String(++calls);
      return new Promise((resolve) => {
        const late = unanswered(`no answer to ${method} within ${CALL_TIMEOUT_MS / 1000} s`);
        const timer = setTimeout(() => settle(id, late), CALL_TIMEOUT_MS);
        waiting.set(id, (answer) => {
          clearTimeout(timer);
          resolve(answer);
        });
        send(request(id, method, params));
      });
    },
    settle({ id, ok, payload, error = NO_REASON }) {
      const refused = (): Answer => ({ ok: false, error: shownError(error, shown) });
      settle(id, ok ? { ok, payload: isObject(payload) ? payload : {} } : refused());
    },
    end() {
      is_over = true;
      for (const id of [...waiting.keys()]) settle(id, unanswered('the connection was closed'));
    },
  };
}
