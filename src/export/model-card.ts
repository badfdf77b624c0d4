/** `README.md` of an exported model: what it is, how it was made and measured, how to load it. */
import { blockOf, blockParameters, modelParameters } from '../blocks/index.ts';
import type { ExportSource } from './exporter.ts';
import type { DialectName } from './hf-config.ts';

/** Markdown with the front matter that Hugging Face's hub reads. */
export function modelCard(source: ExportSource, dialect: DialectName): string {
  const { name, origin, checkpoint } = source;
  const parameters = modelParameters(checkpoint.architecture).toLocaleString('en-US');
  return [
    frontMatter(source),
    `# ${name}`,
    origin === undefined
      ? `A language model of ${parameters} parameters.`
      : `A student of ${origin.teacher}, ${parameters} parameters: an architecture searched for given budgets, assembled from a library of blocks that were distilled one by one (Puzzle, arXiv 2411.19146).`,
    '## How to load it',
    loading[dialect],
    ...(origin === undefined
      ? ['## Layers', layerTable(source)]
      : ['## How it was made', `    ${origin.command}`, demoted(origin.report)]),
    '## Licence',
    licence(source),
    '',
  ].join('\n\n');
}

function frontMatter({ origin }: ExportSource): string {
  return [
    '---',
    'library_name: transformers',
    'pipeline_tag: text-generation',
    ...(origin?.licence === undefined ? [] : [`license: ${origin.licence}`]),
    ...(origin === undefined ? [] : [`base_model: ${JSON.stringify(origin.teacher)}`]),
    'tags: [puzzle-nas]',
    '---',
  ].join('\n');
}

const loading: Readonly<Record<DialectName, string>> = {
  plain: [
    '`AutoModelForCausalLM.from_pretrained(folder)`; so do vLLM, TensorRT-LLM and the converters of other formats:',
    'all layers are alike.',
  ].join('\n'),
  'nemotron-nas': [
    '`AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True)`; vLLM and TensorRT-LLM know the architecture,',
    '`DeciLMForCausalLM`, themselves and take the configuration from `configuration_decilm.py`. vLLM loads no blocks that',
    'are one matrix (`replace_with_linear`), TensorRT-LLM no FFN width other than a multiple of 256.',
  ].join('\n'),
  'per-layer-config':
    '`AutoModelForCausalLM.from_pretrained(folder)` with a transformers whose Llama reads `per_layer_config`.',
};

function layerTable({ checkpoint: { architecture } }: ExportSource): string {
  const rows = architecture.slots.map(({ layer, kind, block }) => [
    String(layer),
    kind,
    blockOf(block).label(block),
    blockParameters(block, architecture.stream).toLocaleString('en-US'),
  ]);
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [['layer', 'slot', 'block', 'parameters'], ['---', '---', '---', '---:'], ...rows]
    .map(line)
    .join('\n');
}

/** A report as a part of another text: its headings one level down, its title as a heading of its own. */
const demoted = (report: string): string => report.trim().replaceAll(/^#/gm, '##');

const licence = ({ origin }: ExportSource): string =>
  origin === undefined
    ? 'That of the model it was written from.'
    : `The student is derived from its teacher, ${origin.teacher}, whose licence ${origin.licence === undefined ? 'applies: see there' : `(${origin.licence}) applies`}; the texts it was distilled on are named above.`;
