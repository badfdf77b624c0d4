/** What the rest of the program may use of the search. */

export * from './problem.ts';
export { solve } from './solve.ts';
export { validate } from './validate.ts';
export { distance, verify, type Check } from './verify.ts';
