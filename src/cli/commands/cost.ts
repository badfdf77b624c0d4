/** `puzzle cost`: the time of one kernel, or of every row of a table of kernels. */
import { callTime, loadProfile, readRows, type KernelCall, type Quantity } from '../../hardware/index.ts';
import { textTable } from '../../util/text-table.ts';
import { formatAmount } from '../../util/units.ts';
import { PuzzleError } from '../../util/errors.ts';
import { defineCommand } from '../command.ts';
import { hardwareOption, wholeNumber } from '../options.ts';

const gemmKindOf = {
  fp32: 'fp32',
  fp16: 'fp16',
  float16: 'fp16',
  bf16: 'bf16',
  bfloat16: 'bf16',
  fp8: 'fp8',
  fp8_static: 'fp8-static',
  fp8_block: 'fp8-block',
  nvfp4: 'nvfp4',
  int8: 'int8',
  int8_wo: 'int8-weights',
  int4_wo: 'int4-weights',
} as const;
type GemmDtype = keyof typeof gemmKindOf;
const formats = ['bf16', 'fp16', 'fp32', 'fp8', 'bfloat16'] as const;
type Format = (typeof formats)[number];
const formatOf = (name: Format): 'bf16' | 'fp16' | 'fp32' | 'fp8' => (name === 'bfloat16' ? 'bf16' : name);

export const costCommand = defineCommand({
  command: 'cost',
  describe: 'Time of one kernel on a device, or of every row of a table',
  options: (yargs) =>
    yargs.options({
      ...hardwareOption,
      op: { type: 'string', choices: ['gemm', 'attention'] as const, describe: 'Kind of kernel' },
      rows: {
        type: 'string',
        describe: 'CSV of many kernels: dtype,m,n,k or attn_dtype,kv_dtype,head_dim,...',
      },
      m: { type: 'number', describe: 'gemm: tokens' },
      n: { type: 'number', describe: 'gemm: outputs' },
      k: { type: 'number', describe: 'gemm: inputs' },
      dtype: {
        type: 'string',
        default: 'bf16' as GemmDtype,
        choices: Object.keys(gemmKindOf) as GemmDtype[],
        describe: 'gemm: format of the weights; attention: of the scores (bf16, fp8)',
      },
      phase: {
        type: 'string',
        default: 'decode' as const,
        choices: ['prefill', 'decode'] as const,
        describe: 'attention',
      },
      heads: { type: 'number', describe: 'attention: query heads' },
      'kv-heads': { type: 'number', describe: 'attention: KV heads' },
      'head-dim': { type: 'number', default: 128, describe: 'attention: width of a head' },
      window: { type: 'number', default: 0, describe: 'attention: sliding window, 0 for none' },
      batch: { type: 'number', default: 1, describe: 'attention: sequences' },
      length: { type: 'number', describe: 'attention: tokens of each sequence (decode: in the cache)' },
      kv: {
        type: 'string',
        default: 'bf16' as Format,
        choices: formats,
        describe: 'attention: format of the KV cache',
      },
    }),
  async run(args, { print }) {
    const profile = loadProfile(args.hw);
    if (args.rows !== undefined) {
      const rows = readRows(args.rows).map(({ kernel }) => shown(callTime(profile, kernel)));
      print({ schema: 'puzzle/cost-rows@1', hardware: profile.name, rows }, () =>
        textTable([
          ['row', 'time', '90 % band', 'source'],
          ...rows.map((row, i) => [String(i + 1), ms(row.latencyMs), bandText(row), row.source]),
        ]),
      );
      return;
    }
    const need = (value: number | undefined, flag: string): number => {
      if (value !== undefined) return wholeNumber(value, flag);
      throw new PuzzleError('bad-usage', `--${flag} is missing.`, {
        at: `--${flag}`,
        fix: `Give --${flag} a whole number.`,
      });
    };
    const kernel = ((): KernelCall => {
      switch (args.op) {
        case 'gemm':
          return {
            op: 'gemm',
            call: {
              kind: gemmKindOf[args.dtype],
              m: need(args.m, 'm'),
              n: need(args.n, 'n'),
              k: need(args.k, 'k'),
            },
          };
        case 'attention': {
          const heads = need(args.heads, 'heads');
          const kvHeads = need(args['kv-heads'], 'kv-heads');
          if (heads % kvHeads !== 0) {
            throw new PuzzleError('bad-usage', `--kv-heads ${kvHeads} does not divide --heads ${heads}.`, {
              at: '--kv-heads',
              value: kvHeads,
              fix: `Give a divisor of ${heads}.`,
            });
          }
          return {
            op: 'attention',
            call: {
              phase: args.phase,
              format: args.dtype === 'fp8' ? 'fp8' : 'bf16',
              kv: formatOf(args.kv),
              heads,
              kvHeads,
              headDim: need(args['head-dim'], 'head-dim'),
              ...(args.window > 0 && { window: wholeNumber(args.window, 'window') }),
              batch: need(args.batch, 'batch'),
              length: need(args.length, 'length'),
            },
          };
        }
        case undefined:
          throw new PuzzleError('bad-usage', 'Nothing to time.', {
            at: '--op',
            fix: 'Give --op gemm, --op attention, or --rows FILE.csv.',
          });
      }
    })();
    const row = shown(callTime(profile, kernel));
    print(
      { schema: 'puzzle/cost@1', hardware: profile.name, ...row },
      () => `${ms(row.latencyMs)} (${bandText(row)}), ${row.source}`,
    );
  },
});

interface Row {
  readonly latencyMs: number;
  readonly source: string;
  readonly errorBand: Quantity['errorBand'];
}

const shown = ({ value, source, errorBand }: Quantity): Row => ({ latencyMs: value, source, errorBand });
const ms = (value: number): string => formatAmount(value, 'duration');
const bandText = ({ errorBand }: Row): string => `${ms(errorBand.low)} to ${ms(errorBand.high)}`;
