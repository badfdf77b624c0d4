/** Every command, in the order in which `--help` lists them. One file and one line each. */
import type { Command } from '../command.ts';
import { compareCommand } from './compare.ts';
import { explainCommand } from './explain.ts';
import { whatIfCommand } from './whatif.ts';

export const commands: readonly Command[] = [explainCommand, whatIfCommand, compareCommand];
