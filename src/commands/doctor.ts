/**
 * `doctor`: checks everything that `run` needs, and reports for each item what it found and what to do. It continues where
 * `run` would stop, and runs independent checks at the same time, so that it ends within seconds whatever hangs.
 */
import { dataDirectory } from '../start/gateway.js';
import { namesOrigin } from '../start/origin.js';
import { diagnoseSettings, type SettingOptions } from '../start/settings.js';
import { nameSources } from '../start/sources.js';
import { EXIT } from '../summary.js';
import { supportsColor } from '../terminal/escapes.js';
import { supportsUnicode } from '../terminal/unicode.js';
import { printableJson } from '../util/controls.js';
import type { Check } from './doctor/check.js';
import { checkDataDirectory } from './doctor/data-directory.js';
import { checkDestinations } from './doctor/destinations.js';
import { checkSources, wrongInFile } from './doctor/gateway.js';
import { checkConfiguration, checkNode } from './doctor/installation.js';
import { renderReport } from './doctor/report.js';
import { checkTranscripts } from './doctor/transcripts.js';
import { misused, type Outcome } from './outcome.js';

const report = (checks: Check[]): string =>
  renderReport(checks, {
    color: supportsColor(process.stdout, process.env),
    unicode: supportsUnicode(process.env, process.platform),
  });

export async function doctor(
  options: SettingOptions,
  config_path: string | undefined,
  as_json: boolean,
): Promise<Outcome> {
  const diagnosis = diagnoseSettings(options, config_path);
  if ('error' in diagnosis) return misused(diagnosis.error);
  const { settings } = diagnosis;
  const { env } = process;
  const named = nameSources(settings, namesOrigin(options));
  const [sources, destinations] = await Promise.all([
    checkSources(named, settings, env),
    checkDestinations(settings),
  ]);
  const checks = [
    checkNode(),
    ...checkConfiguration(diagnosis.problems, wrongInFile(named), config_path),
    ...sources,
    checkTranscripts(env),
    ...destinations,
    ...checkDataDirectory(dataDirectory(settings, env)),
  ];
  const is_ok = checks.every(({ level }) => level !== 'problem');
  process.stdout.write(as_json ? `${printableJson({ version: 1, ok: is_ok, checks })}\n` : report(checks));
  return { status: is_ok ? EXIT.ok : EXIT.failed };
}
