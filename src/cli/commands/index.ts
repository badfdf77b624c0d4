/** Every command, in the order in which `--help` lists them. One file and one line each. */
import type { Command } from '../command.ts';

export const commands: readonly Command[] = [];
