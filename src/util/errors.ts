/**
 * Describes in words why the system refused something. Messages are for people: a known error code is replaced by a phrase, and
 * there is never a stack.
 */

const PHRASES: Record<string, string> = {
  EACCES: 'permission denied',
  EADDRINUSE: 'another process uses this address',
  EADDRNOTAVAIL: 'this machine has no such address',
  EAI_AGAIN: 'the host name could not be resolved',
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'the connection was reset',
  EDQUOT: 'the disk quota is exceeded',
  EEXIST: 'it already exists',
  EFBIG: 'the file size limit is exceeded',
  EHOSTUNREACH: 'the host is unreachable',
  EIO: 'disk I/O error',
  EISDIR: 'it is a directory',
  EMFILE: 'too many open files',
  ENETUNREACH: 'the network is unreachable',
  ENOENT: 'it does not exist',
  ENOSPC: 'no space left on the disk',
  ENOTDIR: 'a part of its path is not a directory',
  ENOTFOUND: 'the host name was not found',
  EPERM: 'permission denied',
  EROFS: 'the file system is read-only',
  ETIMEDOUT: 'timed out',
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
