/** The links of the documents: each relative one leads to a file that exists, and to a heading that is in it. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { expect, test } from 'vitest';

const ROOT = resolve(import.meta.dirname, '../..');
const DOCUMENTS = ['.', 'docs', 'examples'].flatMap((directory) =>
  readdirSync(join(ROOT, directory))
    .filter((name) => name.endsWith('.md'))
    .map((name) => join(directory, name)),
);

const LINK = /\]\((?![a-z]+:)([^)#\s]*)(?:#([^)\s]+))?\)/g;
const FENCED = /^```.*?^```/gms;

const read = (document: string): string => readFileSync(join(ROOT, document), 'utf8').replace(FENCED, '');

/** As GitHub derives them from headings; of a heading that is there twice only the first one. */
const anchorsOf = (text: string): string[] =>
  [...text.matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, '')
      .replace(/\s/g, '-'),
  );

function brokenLinks(document: string): string[] {
  return [...read(document).matchAll(LINK)].flatMap(([link, path = '', anchor]) => {
    const target = path === '' ? document : join(dirname(document), path);
    if (!existsSync(join(ROOT, target))) return link;
    return anchor === undefined || anchorsOf(read(target)).includes(anchor) ? [] : link;
  });
}

test('there are documents with links', () => {
  expect(DOCUMENTS.flatMap((document) => [...read(document).matchAll(LINK)]).length).toBeGreaterThan(100);
});

test.each(DOCUMENTS)('every link in %s leads somewhere', (document) => {
  expect(brokenLinks(document)).toEqual([]);
});
