/** The only folder that knows ONNX Runtime: devices, sessions, worker threads. */
export { devices, type Device } from './device.ts';
export type { Ports, Program } from './program.ts';
export { openRuntime, type Resident, type RunOptions, type RunResult, type Runtime } from './runtime.ts';
export { runtimeVersion } from './version.ts';
export { probeDevices, type DeviceReport } from './probe.ts';
