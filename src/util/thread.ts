/** Worker threads whose code stands beside the module that starts them. */
import { Worker } from 'node:worker_threads';

/**
 * Starts `name` (without ending) beside `from`, the `import.meta.url` of the caller. Compiled code stands there as
 * JavaScript; sources run directly (tests, bench) need tsx in the thread too.
 */
export function startThread(name: string, from: string, workerData?: unknown): Worker {
  if (!from.endsWith('.ts')) return new Worker(new URL(`${name}.js`, from), { workerData });
  const tsx = import.meta.resolve('tsx/esm/api');
  const source = new URL(`${name}.ts`, from).href;
  const start = `import('${tsx}').then(({ register }) => { register(); return import('${source}'); })`;
  return new Worker(start, { eval: true, workerData });
}
