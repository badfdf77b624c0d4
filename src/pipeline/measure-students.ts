/** Damage of assembled students on one text, one stored job per architecture; the teacher runs over the text once. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { closeReference, damageOf, openReference, type ReferencePass } from '../score/index.ts';
import { hashOf } from '../util/hash.ts';
import { checkAgainst } from '../util/json.ts';
import { readJobJson, type Store } from './store.ts';
import { weightsKey, withCandidate, type Candidate, type StudentStageInput } from './student-stage.ts';
import type { RunText } from './texts.ts';

/** Raised when the same student gives other figures. */
const version = 1;

/** KL(teacher || student) in nats, window by window. */
export type Measured = readonly number[];

export interface StudentMeasure {
  kl(student: Omit<Candidate, 'name'>): Promise<Measured>;
  close(): Promise<void>;
}

const damageFile = 'kl.json';
const damageSchema = z.array(z.number()).min(1);

export function openMeasure(input: StudentStageInput, text: RunText, store: Store): StudentMeasure {
  const { teacher, library, device } = input;
  let reference: Promise<readonly ReferencePass[]> | undefined;
  return {
    async kl(student) {
      const job = await store.run(
        {
          stage: 'student-damage',
          version,
          inputs: {
            teacher: teacher.checkpoint.identity,
            text: text.hash,
            blocks: hashOf(student.choice.map((position, slot) => library.keys[slot]![position]!)),
            weights: weightsKey(student.weights),
            device,
          },
        },
        async (folder) => {
          const execution = await teacher.execution();
          const passes = await (reference ??= openReference(execution, text));
          const { kl } = await withCandidate(input, student, (model) => damageOf(model, passes));
          await writeFile(join(folder, damageFile), `${JSON.stringify(kl)}\n`);
        },
      );
      const at = join(job.folder, damageFile);
      return checkAgainst(
        damageSchema,
        await readJobJson(job, damageFile),
        at,
        'Remove the store; it will be made again.',
      );
    },
    async close() {
      if (reference) await closeReference(await teacher.execution(), await reference);
    },
  };
}

/** A fall counts when it is more than this many standard errors of the paired differences: one-sided 95 %. */
const standardErrors = 1.645;

/** Whether a student's damage is lower than another's on the same windows, outside the noise of their differences. */
export function isLower(kl: Measured, other: Measured): boolean {
  const differences = kl.map((value, window) => value - other[window]!);
  const n = differences.length;
  const mean = differences.reduce((sum, value) => sum + value, 0) / n;
  const variance = differences.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (n - 1);
  // A single window says nothing about its noise.
  return n > 1 && mean < -standardErrors * Math.sqrt(variance / n);
}
