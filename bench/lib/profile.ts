/**
 * The processor time of a variant by function, from V8's profiler. Nothing else is measured at the same time, since the
 * profiler itself takes time.
 */
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Workload } from '../load/workload.js';
import { startEnds, stopEnds } from './ends.js';
import { MAIN, type SubjectPlan, startSubject, temporaryDirectory } from './subject.js';

export interface Frame {
  functionName: string;
  url: string;
  lineNumber: number;
}

interface Recorded {
  nodes: { id: number; callFrame: Frame; children?: number[] }[];
  samples: number[];
  timeDeltas: number[];
}

/** A function at one position in the call tree. */
export interface Call {
  frame: Frame;
  /** Microseconds per event: in the function itself, and including everything that it called. */
  self_us: number;
  total_us: number;
  calls: Call[];
}

const QUIET_MS = 10_000;

/** Idle time is not the program's. */
const NOT_WORK = new Set(['(idle)', '(program)']);

export const fileOf = ({ url, functionName }: Frame): string =>
  url === '' ? functionName : url.replace(/^.*\/node_modules\//, '').replace(/^.*\/dist\//, '');

function treeOf({ nodes, samples, timeDeltas }: Recorded, events: number): Call {
  const times = new Map<number, number>();
  for (const [at, id] of samples.entries()) times.set(id, (times.get(id) ?? 0) + (timeDeltas[at] ?? 0));
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const callOf = (id: number): Call => {
    const { callFrame: frame, children = [] } = byId.get(id) ?? { callFrame: NOWHERE };
    const calls = children.map(callOf);
    const self_us = NOT_WORK.has(frame.functionName) ? 0 : (times.get(id) ?? 0) / events;
    return { frame, self_us, total_us: calls.reduce((sum, { total_us }) => sum + total_us, self_us), calls };
  };
  return callOf(nodes[0]?.id ?? 0);
}

const NOWHERE: Frame = { functionName: '(nowhere)', url: '', lineNumber: 0 };

/** Profiles a program, by default this checkout's, on a workload. Returns its call tree. */
export async function profile(plan: SubjectPlan, workload: Workload, main = MAIN): Promise<Call> {
  const ends = await startEnds();
  const { sink, generator } = ends;
  const counts = await sink.call('expect', workload);
  await generator.call('prepare', workload);
  await sink.call('reset');
  const directory = temporaryDirectory();
  const node_args = ['--cpu-prof', `--cpu-prof-dir=${directory}`];
  const subject = await startSubject(plan, sink.hello, { node_args, main });
  const wanted = { spans: counts.spans, logs: plan.is_full ? counts.logs : 0, quiet_ms: QUIET_MS };
  const done = sink.call('until', wanted);
  await generator.call('send', { path: subject.socket_path });
  await done;
  await subject.stop();
  const [file = ''] = readdirSync(directory);
  const recorded: Recorded = JSON.parse(readFileSync(join(directory, file), 'utf8'));
  rmSync(directory, { recursive: true });
  stopEnds(ends);
  return treeOf(recorded, counts.events);
}

/** All calls in the tree. */
export function* everyCall(call: Call): Generator<Call> {
  yield call;
  for (const each of call.calls) yield* everyCall(each);
}
