/**
 * Lists what failed in a JSON report of vitest: node .ci/failed-tests.js REPORT
 * Each test with its full name, its file, how long it took and the beginning of its failure; of very many, only the first.
 */
import { readFileSync } from 'node:fs';
import { relative } from 'node:path';

const MAX_TESTS = 20;
const MAX_LINES = 10;
const MAX_LINE_LENGTH = 400;

/** A test that ran out of time has this where its report should say so. */
const NO_MESSAGE = 'STACK_TRACE_ERROR';

const indent = (line) => `      ${line.slice(0, MAX_LINE_LENGTH)}`;

const beginning = (message) =>
  message
    .replace(NO_MESSAGE, 'the test ran out of time')
    .split('\n')
    .filter((line) => line.trim() !== '' && !line.includes('/node_modules/'))
    .slice(0, MAX_LINES)
    .map(indent);

const describeTest = (file, { fullName, duration = 0, failureMessages }) => [
  `  ${fullName}`,
  `    ${file}, ${Math.round(duration)} ms`,
  ...beginning(failureMessages.join('\n')),
];

/** The failed tests of a file, and what went wrong outside of them: it could not be loaded, or a hook failed. */
function failuresOf({ name, message, assertionResults }) {
  const file = relative(process.cwd(), name);
  const failed = assertionResults.filter(({ status }) => status === 'failed');
  const outside = message === '' ? [] : [[`  ${file}`, ...beginning(message)]];
  return [...outside, ...failed.map((test) => describeTest(file, test))];
}

const { testResults } = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const failures = testResults.flatMap(failuresOf);
const lines = failures.slice(0, MAX_TESTS).flat();
if (failures.length > MAX_TESTS) lines.push(`  and ${failures.length - MAX_TESTS} more`);
process.stdout.write(`${lines.join('\n')}\n`);
