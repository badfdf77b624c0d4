/** llama.cpp, closed when a test file ends. */
import { afterAll } from 'vitest';
import { closeLibrary } from './llama-cpp-library.ts';

export {
  greedyContinuation,
  inLlamaCpp,
  nextLogProbabilities,
  tokenLogProbabilities,
} from './llama-cpp-library.ts';

afterAll(closeLibrary);
