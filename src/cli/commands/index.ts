/** Every command, in the order in which `--help` lists them. One file and one line each. */
import type { Command } from '../command.ts';
import { calibrateCommand } from './calibrate.ts';
import { compareCommand } from './compare.ts';
import { costCommand } from './cost.ts';
import { distillCommand } from './distill.ts';
import { doctorCommand } from './doctor.ts';
import { estimateCommand } from './estimate.ts';
import { evaluateCommand } from './evaluate.ts';
import { explainCommand } from './explain.ts';
import { exportCommand } from './export.ts';
import { frontCommand } from './front.ts';
import { generateCommand } from './generate.ts';
import { hwCommand } from './hw.ts';
import { profileCommand } from './profile.ts';
import { scoreCommand } from './score.ts';
import { searchCommand } from './search.ts';
import { whatIfCommand } from './whatif.ts';

export const commands: readonly Command[] = [
  searchCommand,
  distillCommand,
  scoreCommand,
  evaluateCommand,
  generateCommand,
  exportCommand,
  estimateCommand,
  costCommand,
  hwCommand,
  calibrateCommand,
  profileCommand,
  explainCommand,
  whatIfCommand,
  frontCommand,
  compareCommand,
  doctorCommand,
];
