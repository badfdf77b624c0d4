/** `npm run install:cuda`: fetches ONNX Runtime's CUDA libraries, which `npm ci` leaves out because of their size. */
import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

const manifest = createRequire(import.meta.url).resolve('onnxruntime-node/package.json');
const { status } = spawnSync(process.execPath, [join(dirname(manifest), 'script', 'install.js')], {
  stdio: 'inherit',
  env: { ...process.env, ONNXRUNTIME_NODE_INSTALL: 'cuda12' },
});
process.exitCode = status ?? 1;
