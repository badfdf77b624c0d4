/** The same training on the CPU and on WebGPU, through a software Vulkan driver where there is no GPU. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

/** Debian's chromium package ships SwiftShader, a Vulkan driver in software. */
const swiftShader = '/usr/lib/chromium/vk_swiftshader_icd.json';
const icd = process.env.VK_ICD_FILENAMES ?? (existsSync(swiftShader) ? swiftShader : undefined);
const program = fileURLToPath(new URL('train-on.ts', import.meta.url));

async function losses(device: string, environment: Readonly<Record<string, string>> = {}): Promise<number[]> {
  const { stdout } = await promisify(execFile)(process.execPath, ['--import', 'tsx', program, device], {
    env: { ...process.env, ...environment },
  });
  return JSON.parse(stdout) as number[];
}

test('a training loop on webgpu has the losses of the CPU', async (context) => {
  if (icd === undefined) {
    const reason = `no Vulkan driver: neither VK_ICD_FILENAMES nor ${swiftShader} (apt-get install chromium)`;
    process.stdout.write(`skipped: ${reason}\n`);
    context.skip(reason);
    return;
  }
  const [cpu, webgpu] = await Promise.all([losses('cpu'), losses('webgpu', { VK_ICD_FILENAMES: icd })]);
  expect(cpu).toHaveLength(10);
  expect(cpu.at(-1)).toBeLessThan(cpu[0]!);
  const largest = Math.max(...cpu.map((loss, step) => Math.abs(loss - webgpu[step]!)));
  expect(largest).toBeLessThan(1e-3);
}, 300_000); // the software driver compiles every shader on the CPU
