import { defineConfig } from 'vitest/config';

// Two workers: CI has two cores, and ONNX Runtime sessions use threads of their own.
export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    maxWorkers: 2,
    testTimeout: 120_000,
    hookTimeout: 120_000,
    reporters: ['default', './test/closing-line.ts'],
  },
});
