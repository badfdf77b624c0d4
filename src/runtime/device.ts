/** The devices a graph can run on, as ONNX Runtime's execution providers. */

export const devices = ['cpu', 'webgpu', 'cuda'] as const;

export type Device = (typeof devices)[number];

/** What makes a device available, as an imperative sentence. */
export const installHint: Readonly<Record<Device, string>> = {
  cpu: 'Reinstall the package: npm ci.',
  webgpu:
    'Install a Vulkan driver for your GPU (Linux: libvulkan1 and the vendor driver or mesa-vulkan-drivers).',
  cuda: 'On Linux x64 with an NVIDIA driver, CUDA 12 and cuDNN 9: npm run install:cuda.',
};
