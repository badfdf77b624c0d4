/** The model of our own that every command uses when none is named. */
import { fileURLToPath } from 'node:url';

/** Its folder, wherever this package is installed. */
export const bundledTeacher = fileURLToPath(new URL('../../models/moby-2m', import.meta.url));
