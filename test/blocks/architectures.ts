/** Small architectures for tests, all layers alike. */
import type { Architecture, BlockConfig, StreamConfig } from '../../src/model/architecture.ts';

interface Uniform extends Partial<StreamConfig> {
  readonly layers: number;
  readonly hidden: number;
  readonly attention: BlockConfig;
  readonly ffn: BlockConfig;
}

export function uniformArchitecture({ layers, attention, ffn, ...stream }: Uniform): Architecture {
  return {
    stream: {
      family: 'llama',
      vocabularySize: 256,
      normEpsilon: 1e-5,
      ropeTheta: 10_000,
      tiedEmbeddings: true,
      contextLength: 512,
      ...stream,
    },
    slots: Array.from({ length: layers }, (_, layer) => [
      { layer, kind: 'attention' as const, block: attention },
      { layer, kind: 'ffn' as const, block: ffn },
    ]).flat(),
  };
}
