/**
 * `tree FILE…`: the runs of recordings as a tree, for reading or as JSON. Sends nothing.
 */

import { createCorrelator } from '../correlate/index.js';
import { createProblemLog } from '../intake.js';
import type { Logger } from '../model/logger.js';
import { SourceError } from '../model/source.js';
import type { Emission, SpanRecord } from '../model/telemetry.js';
import type { Settings } from '../start/settings.js';
import { EXIT } from '../summary.js';
import { supportsColor } from '../terminal/escapes.js';
import { renderForest } from '../terminal/render.js';
import { buildForest, treeJson } from '../terminal/tree.js';
import { supportsUnicode } from '../terminal/unicode.js';
import { printableJson } from '../util/controls.js';
import { failed, type Outcome } from './outcome.js';
import { readThrough } from './read-through.js';

const DEFAULT_COLUMNS = 120;

export async function tree(
  files: string[],
  settings: Settings,
  logger: Logger,
  asJson: boolean,
): Promise<Outcome> {
  const { dialect, limits, content } = settings;
  const correlator = createCorrelator({ content, content_max_bytes: limits.content_bytes });
  const spans: SpanRecord[] = [];
  const keep = (emission: Emission): void => {
    for (const span of emission.spans) spans.push(span);
  };
  try {
    await readThrough(files, {
      dialect,
      max_line_bytes: limits.line_bytes,
      onProblem: createProblemLog(logger),
      onEvents: (events) => {
        for (const event of events) keep(correlator.apply(event, Date.now()));
      },
    });
  } catch (error) {
    if (error instanceof SourceError) return failed(error.message);
    throw error;
  }
  keep(correlator.close(Date.now()));
  const forest = buildForest(spans);
  process.stdout.write(asJson ? `${printableJson(treeJson(forest), 2)}\n` : draw(forest));
  return { status: EXIT.ok };
}

function draw(forest: ReturnType<typeof buildForest>): string {
  const { stdout, env, platform } = process;
  const lines = renderForest(forest, {
    columns: stdout.columns ?? DEFAULT_COLUMNS,
    color: supportsColor(stdout, env),
    unicode: supportsUnicode(env, platform),
  });
  return lines.length === 0 ? 'no runs\n' : `${lines.join('\n')}\n`;
}
