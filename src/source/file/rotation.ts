/**
 * Finds files that were renamed: a rotated file is kept under another name beside its path, such as `events.log.1`, and so may
 * be those that had the path after it.
 */
import { type FileHandle, readdir, readlink, realpath, stat } from 'node:fs/promises';
import { basename, dirname, join, parse, resolve } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { type FileId, type FilePosition, identify, idOf, isSameFile, isUnchanged } from './cursor.js';
import { openFile, orClose } from './file.js';

interface RotatedFile {
  path: string;
  id: FileId;
  written_ns: bigint;
  is_empty: boolean;
}

/** The files in the path's directory whose names begin with the path's file name, without its extension. */
async function lookAround(path: string): Promise<RotatedFile[]> {
  const directory = dirname(path);
  const names = await readdir(directory).catch(() => []);
  const files: RotatedFile[] = [];
  for (const name of names) {
    if (name === basename(path) || !name.startsWith(parse(path).name)) continue;
    const beside = join(directory, name);
    const stats = await stat(beside, { bigint: true }).catch(() => undefined);
    if (!stats?.isFile()) continue;
    files.push({ path: beside, id: idOf(stats), written_ns: stats.mtimeNs, is_empty: stats.size === 0n });
  }
  return files;
}

/** Where a link leads, even if nothing is there; else the path itself. */
const targetOf = (path: string): Promise<string> =>
  realpath(path)
    .catch(async () => resolve(dirname(path), await readlink(path)))
    .catch(() => path);

/** The files beside a path and, if it is a link, beside its target: either may be what is rotated. */
async function lookBeside(path: string): Promise<RotatedFile[]> {
  const target = await targetOf(path);
  const files = await lookAround(path);
  return target === path ? files : [...files, ...(await lookAround(target))];
}

/** Maximum number of listings until two agree. */
const MAX_LOOKS = 5;

/** The same, once two listings agree: a file that is renamed during one may be in it twice, or not at all. */
async function filesBeside(path: string): Promise<RotatedFile[]> {
  let files = await lookBeside(path);
  for (let looks = 1; looks < MAX_LOOKS; looks += 1) {
    const before = files;
    files = await lookBeside(path);
    if (isDeepStrictEqual(files, before)) break;
  }
  return files;
}

/** The path where a file is now: the given one, or one that it was renamed to. */
export async function findFile(path: string, id: FileId): Promise<string | undefined> {
  const named = await stat(path, { bigint: true }).catch(() => undefined);
  if (named !== undefined && isSameFile(idOf(named), id)) return path;
  return (await filesBeside(path)).find((file) => isSameFile(file.id, id))?.path;
}

/** Opens the file that a position is in, wherever it is now; undefined if it is gone or was rewritten. */
export async function openAt(path: string, position: FilePosition): Promise<FileHandle | undefined> {
  const found = await findFile(path, position);
  if (found === undefined) return undefined;
  const handle = await openFile(found);
  // Missing: it was renamed at this moment. Any other problem counts as gone.
  if ('message' in handle) return handle.missing ? openAt(path, position) : undefined;
  const is_same = isSameFile(await identify(handle, found), position);
  if (is_same && (await orClose(handle, isUnchanged(handle, found, position)))) return handle;
  await handle.close();
  return is_same ? undefined : openAt(path, position);
}

/** Whether a file beside a path is named as by a rotation: with a number or a date added, in whatever place. */
function isRotated(path: string, beside: string): boolean {
  const { name, ext } = parse(path);
  const added = basename(beside).slice(name.length).replace(ext, '');
  return /^[-._:T\d]*\d[-._:T\d]*$/.test(added);
}

const byWriting = (a: RotatedFile, b: RotatedFile): number => (a.written_ns < b.written_ns ? -1 : 1);

/** Files that were rotated away and have been written to since `since_ms`, the oldest first. */
async function rotatedSince(path: string, since_ms: number): Promise<RotatedFile[]> {
  const since_ns = BigInt(since_ms) * 1_000_000n;
  const files = (await filesBeside(path)).filter(
    (file) => !file.is_empty && file.written_ns > since_ns && isRotated(path, file.path),
  );
  return files.sort(byWriting);
}

/** The first file that had the path after one that is gone, and was rotated away too. */
export async function findRotatedSince(path: string, since_ms: number): Promise<FileId | undefined> {
  return (await rotatedSince(path, since_ms))[0]?.id;
}

/** An open file, and the place in it that a position refers to. */
export interface OpenedPlace {
  handle: FileHandle;
  place: FilePosition;
}

/**
 * Opens a copy: some rotations copy a file and truncate it. Undefined if there is none, or the position has no bytes to
 * recognise it by.
 */
export async function openCopy(
  path: string,
  position: FilePosition,
  since_ms: number,
): Promise<OpenedPlace | undefined> {
  if (position.before === '') return undefined;
  for (const { path: beside, id } of await rotatedSince(path, since_ms)) {
    const place = { ...position, ...id };
    const handle = await openAt(beside, place);
    if (handle !== undefined) return { handle, place };
  }
  return undefined;
}

/** Files of one rotation have the same name except for a number or a date. */
const shapeOf = (path: string): string => path.replaceAll(/\d+/g, '#');

/** The first file with something in it that had the path after this one and was rotated away too. */
export async function findSuccessor(path: string, id: FileId): Promise<FileId | undefined> {
  const files = await filesBeside(path);
  const own = files.find((file) => isSameFile(file.id, id));
  if (own === undefined) return undefined;
  const later = files.filter(
    (file) => !file.is_empty && file.written_ns > own.written_ns && shapeOf(file.path) === shapeOf(own.path),
  );
  return later.sort(byWriting)[0]?.id;
}
