/** A real model through the command line: the figure it must give, and the memory it may take. */
import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { modelParameters } from '../../src/blocks/index.ts';
import { openModel } from '../../src/model/index.ts';
import { puzzleCommand } from '../cli/run-puzzle.ts';

const model = '../shared/models/SmolLM2-135M-Instruct.Q4_1.gguf';
const text = '../shared/data/wikitext-2-valid.txt';
const absent = [model, text].filter((file) => !existsSync(file));
const reason = absent.length > 0 ? ` (skipped: there is no ${absent.join(', ')})` : '';

/** ../shared/models/README.md: fp32 forward in PyTorch, 8 windows of 512 tokens from character 20000 on. */
const [perplexity, firstCharacter] = [20.32, 20_000];

/** Twenty seconds on two free cores; a busy machine takes its time. */
const limitMs = 900_000;

const interval = { value: expect.any(Number), low: expect.any(Number), high: expect.any(Number) };

test.skipIf(absent.length > 0)(
  `SmolLM2-135M: perplexity ${perplexity} on WikiText-2, in 2.5 times its fp32 size${reason}`,
  async () => {
    const folder = await mkdtemp(join(tmpdir(), 'puzzle-smollm2-'));
    try {
      const excerpt = join(folder, 'excerpt.txt');
      await writeFile(excerpt, readFileSync(text, 'utf8').slice(firstCharacter, firstCharacter + 60_000));
      const options = ['--model', model, '--text', excerpt, '--window', '512', '--tokens', '4096', '--json'];
      const [program, ...args] = puzzleCommand('evaluate', ...options).map((part) =>
        part.startsWith('import ')
          ? `${part} process.stderr.write('peak:' + process.resourceUsage().maxRSS);`
          : part,
      );
      const { stdout, stderr } = await promisify(execFile)(program!, args, { timeout: limitMs });
      const document = JSON.parse(stdout) as { tokens: number; perplexity: Record<string, number> };
      expect(document).toEqual({
        schema: 'puzzle/evaluation@1',
        model,
        window: 512,
        stride: 512,
        tokens: 4096,
        bytes: expect.any(Number),
        perplexity: interval,
        perplexityPerByte: interval,
      });
      expect(document.perplexity.value).toBeCloseTo(perplexity, 2);

      const checkpoint = await openModel(model);
      const bytes = 4 * modelParameters(checkpoint.architecture);
      await checkpoint.close();
      const peakBytes = 1024 * Number(/peak:(\d+)/.exec(stderr)![1]);
      expect(peakBytes / bytes).toBeLessThan(2.5);
      expect(peakBytes / bytes).toBeGreaterThan(1); // the weights are in there, so the measure works
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  },
  limitMs,
);
