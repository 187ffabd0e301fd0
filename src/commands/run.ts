/**
 * `run`: follows live sources until a signal, or until all of them have ended; then drains.
 */
import type { Logger } from 'pino';
import { createBridge } from '../bridge.js';
import { type Source, SourceError } from '../model/source.js';
import type { Settings } from '../settings.js';
import { createSource, isLineSource, parseSourceName } from '../source/index.js';
import { bridgeOptions, type OnInterrupt, sayStopping } from './bridge-options.js';
import { openDestinations } from './destinations.js';
import { conclude, failed, misused, type Outcome, summaryProblem } from './outcome.js';

const NO_SOURCE =
  'nothing to follow: this version reads streams and files, and does not follow a gateway yet; ' +
  'give --from stdin, file:PATH, unix:PATH, tcp:HOST:PORT, listen:unix:PATH or listen:tcp:HOST:PORT';

function openSources({ from, limits }: Settings): { sources: Source[] } | { error: string } {
  const sources: Source[] = [];
  for (const text of from) {
    const parsed = parseSourceName(text);
    if ('error' in parsed) return { error: `--from: ${parsed.error}` };
    if (sources.some(({ name }) => name === parsed.name))
      return { error: `--from ${parsed.name}: given twice; leave one out` };
    if (!isLineSource(parsed))
      return { error: `--from ${parsed.name}: a source of this kind can't be followed yet` };
    sources.push(createSource(parsed, { mode: 'follow', max_line_bytes: limits.line_bytes }));
  }
  return sources.length === 0 ? { error: NO_SOURCE } : { sources };
}

export async function run(settings: Settings, logger: Logger, onInterrupt: OnInterrupt): Promise<Outcome> {
  const problem = summaryProblem(settings.summary);
  if (problem !== undefined) return failed(problem);
  const from = openSources(settings);
  if ('error' in from) return misused(from.error);
  const opened = await openDestinations(settings, logger);
  if ('error' in opened) return misused(opened.error);
  const bridge = createBridge({ ...bridgeOptions(settings, opened, logger), sources: from.sources });
  opened.attach(bridge);
  try {
    await bridge.open();
  } catch (error) {
    if (!(error instanceof SourceError)) throw error;
    // Those that did open are closed again, so that no socket's file stays behind.
    await bridge.stopReading();
    return failed(error.message);
  }
  logger.info(`following ${from.sources.map((source) => source.name).join(', ')}`);
  onInterrupt(() => {
    sayStopping(logger, settings.drain);
    void bridge.stopReading();
  });
  const failures = await bridge.read();
  await bridge.finish(settings.drain * 1000);
  return conclude({ summary: bridge.summary(), failures }, settings, logger);
}
