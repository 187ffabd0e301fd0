/**
 * Checks the version of Node.js and the configuration file.
 */
import { NODE_MIN } from '../../version.js';
import { type Check, ok, problem } from './check.js';

/** Compares major and minor only: `20.19.1` is not older than `20.19`. */
function isOlder(version: string, min: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const [min_major = 0, min_minor = 0] = min.split('.').map(Number);
  return major < min_major || (major === min_major && minor < min_minor);
}

export function checkNode(version: string = process.versions.node): Check {
  return isOlder(version, NODE_MIN)
    ? problem('node', `Node.js ${version}`, `install Node.js ${NODE_MIN} or newer`)
    : ok('node', `Node.js ${version}`);
}

/** Every command checks the settings of the file, but only `run` and `tail` use its sources, unless they are given others. */
const SETTING_ADVICE = 'correct it; commands do not start until then, and the checks below ignore it';
const SOURCE_ADVICE =
  'correct it, or give --from instead; run and tail do not start until then, and the checks below ignore it';

export function checkConfiguration(
  wrong_settings: string[],
  wrong_sources: string[],
  path: string | undefined,
): Check[] {
  if (path === undefined)
    return [ok('configuration', 'no file given; using options, environment and defaults')];
  const problems = [
    ...wrong_settings.map((found) => problem('configuration', found, SETTING_ADVICE)),
    ...wrong_sources.map((found) => problem('configuration', found, SOURCE_ADVICE)),
  ];
  return problems.length === 0 ? [ok('configuration', `${path} is valid`)] : problems;
}
