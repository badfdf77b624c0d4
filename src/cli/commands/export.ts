/** `puzzle export`: a student, or any model, in a format that other software serves. */
import { exportDtypes, formats, type ExportFormat, type ExportReceipt } from '../../export/index.ts';
import { formatAmount, parseAmount } from '../../util/units.ts';
import { PuzzleError } from '../../util/errors.ts';
import { textTable } from '../../util/text-table.ts';
import { defineCommand } from '../command.ts';

const dialects = [...new Set(Object.values(formats).flatMap((format) => format.dialects))];

export const exportCommand = defineCommand({
  command: 'export <result>',
  describe: 'Write a student in a format that other software serves: hf, gguf, onnx',
  options: (yargs) =>
    yargs
      .positional('result', {
        type: 'string',
        demandOption: true,
        describe: 'Results folder, student folder, Hugging Face folder or .gguf file',
      })
      .options({
        format: {
          choices: Object.keys(formats) as ExportFormat[],
          demandOption: true,
          describe: Object.entries(formats)
            .map(([name, { describe }]) => `${name}: ${describe}`)
            .join('; '),
        },
        out: {
          type: 'string',
          demandOption: true,
          describe: 'Folder for the files; must not exist, or be empty',
        },
        dtype: { choices: exportDtypes, describe: 'How matrices are stored (default: f32, nothing lost)' },
        dialect: {
          choices: dialects,
          describe: 'How config.json of hf describes the layers (default: the plainest that can)',
        },
        'shard-size': { type: 'string', default: '5GB', describe: 'Most bytes of one safetensors file' },
        teacher: { type: 'string', describe: "Where a run's teacher lies now, if it was moved" },
      })
      .example('$0 export results/RUN --format gguf --out student-gguf', 'for llama.cpp')
      .example(
        '$0 export results/RUN --format hf --dtype bf16 --out student-hf',
        'for transformers and vLLM',
      ),
  async run(args, { print, report }) {
    const { exportModel, openExportSource } = await import('../../export/index.ts');
    const shard = parseAmount(args.shardSize, 'bytes', '--shard-size');
    if (shard.kind !== 'absolute') {
      throw new PuzzleError('bad-usage', '--shard-size takes a size.', {
        at: '--shard-size',
        value: args.shardSize,
        fix: 'Give bytes: 5GB.',
      });
    }
    const source = await openExportSource(args.result, args.teacher);
    try {
      const receipt = await exportModel(source, {
        format: args.format,
        out: args.out,
        dtype: args.dtype,
        dialect: args.dialect,
        shardBytes: shard.value,
        report,
      });
      print({ schema: 'puzzle/export@1', ...receipt }, () => render(receipt));
    } finally {
      await source.checkpoint.close();
    }
  },
});

function render({ out, architecture, dialect, dtype, files, notes }: ExportReceipt): string {
  return [
    `${out}: ${architecture}${dialect === undefined ? '' : ` (${dialect})`}, ${dtype}`,
    textTable(files.map(({ name, bytes }) => [name, formatAmount(bytes, 'bytes')])),
    ...notes,
  ].join('\n');
}
