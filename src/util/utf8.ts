/** Cuts text at a limit in bytes. */

/** The most UTF-8 bytes that a UTF-16 code unit takes. */
const MAX_BYTES_PER_UNIT = 3;

/** A byte of the form 10xxxxxx continues a character. */
const isContinuation = (byte: number | undefined): boolean => byte !== undefined && (byte & 0xc0) === 0x80;

/** At most `max_bytes` of UTF-8, cut between two characters. The text must be well-formed. */
export function cutUtf8(text: string, max_bytes: number): string {
  if (text.length * MAX_BYTES_PER_UNIT <= max_bytes) return text;
  const bytes = Buffer.from(text);
  if (bytes.length <= max_bytes) return text;
  let end = max_bytes;
  while (isContinuation(bytes[end])) end--;
  return bytes.toString('utf8', 0, end);
}
