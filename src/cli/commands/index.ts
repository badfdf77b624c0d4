/** Every command, in the order in which `--help` lists them. One file and one line each. */
import type { Command } from '../command.ts';
import { compareCommand } from './compare.ts';
import { distillCommand } from './distill.ts';
import { doctorCommand } from './doctor.ts';
import { evaluateCommand } from './evaluate.ts';
import { explainCommand } from './explain.ts';
import { frontCommand } from './front.ts';
import { profileCommand } from './profile.ts';
import { scoreCommand } from './score.ts';
import { searchCommand } from './search.ts';
import { whatIfCommand } from './whatif.ts';

export const commands: readonly Command[] = [
  searchCommand,
  distillCommand,
  scoreCommand,
  evaluateCommand,
  profileCommand,
  explainCommand,
  whatIfCommand,
  frontCommand,
  compareCommand,
  doctorCommand,
];
