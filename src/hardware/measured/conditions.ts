/** What may slow a measurement down: other work, a lowered clock, heat. Linux tells; other systems give the load only. */
import { readFileSync, readdirSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import type { Conditions } from './measured-profile.ts';

const thermal = '/sys/class/thermal';

/** Now: mean clock of the cores, the hottest sensor, mean number of running programs over a minute. */
export function conditions(): Conditions {
  const clocks = cpus()
    .map(({ speed }) => speed)
    .filter((speed) => speed > 0);
  const clockMHz = clocks.reduce((a, b) => a + b, 0) / clocks.length;
  const temperatures = zones().flatMap((zone) => {
    const milli = Number(readOr(`${thermal}/${zone}/temp`, ''));
    return Number.isFinite(milli) && milli > 0 ? [milli / 1000] : [];
  });
  return {
    ...(clocks.length > 0 && { clockMHz: Math.round(clockMHz) }),
    ...(temperatures.length > 0 && { temperatureC: Math.max(...temperatures) }),
    load: Number(loadavg()[0]!.toFixed(2)),
  };
}

function zones(): readonly string[] {
  try {
    return readdirSync(thermal).filter((name) => name.startsWith('thermal_zone'));
  } catch {
    return [];
  }
}

function readOr(path: string, otherwise: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return otherwise;
  }
}
