/** Finds out whether a device works here, by running a small graph on it in a process that may crash. */
import { fork } from 'node:child_process';
import { devices, installHint, type Device } from './device.ts';

export interface DeviceReport {
  readonly device: Device;
  readonly works: boolean;
  /** Why not; empty where it works. */
  readonly reason: string;
  /** What to install; empty where it works. */
  readonly fix: string;
}

/** Drivers may hang; a working device answers within a second or two. */
const patienceMs = 30_000;

/** Probes all devices, each in a process of its own. */
export const probeDevices = (): Promise<readonly DeviceReport[]> => Promise.all(devices.map(probeDevice));

async function probeDevice(device: Device): Promise<DeviceReport> {
  const reason = await failureOn(device);
  return { device, works: reason === '', reason, fix: reason === '' ? '' : installHint[device] };
}

function failureOn(device: Device): Promise<string> {
  const isSource = import.meta.url.endsWith('.ts');
  const child = fork(new URL(`./probe-child.${isSource ? 'ts' : 'js'}`, import.meta.url), [device], {
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    execArgv: isSource ? ['--import', import.meta.resolve('tsx')] : [],
    timeout: patienceMs,
  });
  return new Promise((resolve) => {
    child.once('message', (failure) => {
      resolve(typeof failure === 'string' ? failure : JSON.stringify(failure));
      child.kill();
    });
    child.once('error', (error) => resolve(error.message));
    child.once('exit', (code, signal) =>
      resolve(signal === null ? `its process ended with code ${code}` : `its process was ended by ${signal}`),
    );
  });
}
