/**
 * Describes in words why the system refused something. Messages are for people: a known error code is replaced by a phrase, and
 * there is never a stack.
 */

const PHRASES: Record<string, string> = {
  EACCES: 'permission denied',
  EADDRINUSE: 'another process uses this address',
  EADDRNOTAVAIL: 'this machine has no such address',
  EAI_AGAIN: 'the host name could not be looked up',
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'the connection was reset',
  EDQUOT: "the user's share of the disk is used up",
  EEXIST: 'there is something already',
  EFBIG: 'the file may not be as large as that',
  EHOSTUNREACH: 'the host can not be reached',
  EIO: 'the disk failed',
  EISDIR: 'it is a directory',
  EMFILE: 'too many files are open',
  ENETUNREACH: 'the network can not be reached',
  ENOENT: 'it does not exist',
  ENOSPC: 'no space is left on the disk',
  ENOTDIR: 'a part of its path is not a directory',
  ENOTFOUND: 'there is no host of this name',
  EPERM: 'permission denied',
  EROFS: 'the file system is read-only',
  ETIMEDOUT: 'no answer',
};

/** The system's code of an error, such as `ENOENT`, if it has one. */
export function errorCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

/** The reason of an error as a phrase to append to a message: `permission denied`. */
export function errorReason(error: unknown): string {
  const code = errorCode(error);
  if (code !== undefined) return PHRASES[code] ?? code;
  return error instanceof Error ? error.message : String(error);
}
