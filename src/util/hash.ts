/** Content hashes: the identity of jobs, files and graphs. */
import { createHash } from 'node:crypto';

export type Json =
  | null
  | boolean
  | number
  | string
  | readonly Json[]
  | { readonly [key: string]: Json | undefined };

/** sha256 of bytes or text, hex. */
export const sha256 = (content: Uint8Array | string): string =>
  createHash('sha256').update(content).digest('hex');

/** JSON with object keys sorted and undefined members left out: equal data gives equal text. */
export function canonicalJson(value: Json): string {
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  if (isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  const members = Object.entries(value)
    .filter((entry): entry is [string, Json] => entry[1] !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, member]) => `${JSON.stringify(key)}:${canonicalJson(member)}`);
  return `{${members.join(',')}}`;
}

/** sha256 of data, whatever the order of its keys. */
export const hashOf = (value: Json): string => sha256(canonicalJson(value));

/** `Array.isArray` that also narrows readonly arrays. */
const isArray = (value: Json): value is readonly Json[] => Array.isArray(value);
