/**
 * Calls from the main process of a benchmark to the processes that it started: a name and one argument are sent, and the
 * result or the error comes back.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';

// biome-ignore lint/suspicious/noExplicitAny: each call has its own types, which `Remote` keeps
type Calls = Record<string, (argument: any) => any>;

interface Question {
  call: string;
  number: number;
  argument: unknown;
}

type Answer = { number: number; value: unknown } | { number: number; error: string };

/** In the started process: sends `hello`, then answers calls. */
export function serveCalls<C extends Calls>(calls: C, hello: unknown): void {
  const reply = (answer: Answer | { hello: unknown }): void =>
    void process.send?.(answer, undefined, undefined, () => undefined);
  process.on('message', async ({ call, number, argument }: Question) => {
    try {
      reply({ number, value: await calls[call]?.(argument) });
    } catch (error) {
      reply({ number, error: error instanceof Error ? (error.stack ?? error.message) : String(error) });
    }
  });
  reply({ hello });
}

export interface Remote<C extends Calls> {
  hello: string;
  call<N extends keyof C>(name: N, ...argument: Parameters<C[N]>): Promise<Awaited<ReturnType<C[N]>>>;
  stop(): void;
}

/** Calls the functions that a process serves. */
export function createCaller<C extends Calls>(child: ChildProcess): Remote<C>['call'] {
  const waiting = new Map<number, { resolve: (value: never) => void; reject: (error: Error) => void }>();
  let calls = 0;
  child.on('message', (answer: Answer) => {
    const asked = waiting.get(answer.number);
    waiting.delete(answer.number);
    if ('error' in answer) asked?.reject(new Error(answer.error));
    else asked?.resolve(answer.value as never);
  });
  child.on('exit', () => {
    for (const { reject } of waiting.values()) reject(new Error('the process that was asked has ended'));
    waiting.clear();
  });
  return (name, ...[argument]) =>
    new Promise((resolve, reject) => {
      const number = ++calls;
      waiting.set(number, { resolve, reject });
      const question: Question = { call: String(name), number, argument };
      child.send(question, (error) => {
        if (error !== null) reject(error);
      });
    });
}

/** Starts a process that serves calls, and waits for its `hello`. */
export async function startRemote<C extends Calls>(module: URL): Promise<Remote<C>> {
  const child = fork(module, { execArgv: ['--max-old-space-size=8192'] });
  process.once('exit', () => void child.kill('SIGKILL'));
  const [{ hello }] = (await once(child, 'message')) as [{ hello: string }];
  return { hello, call: createCaller<C>(child), stop: () => void child.kill() };
}
