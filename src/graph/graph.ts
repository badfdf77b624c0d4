/** A graph ready to run: values with names, in topological order, equal values merged, legality checked. */
import { captures, mul, sigmoid } from './build.ts';
import { elementCount } from '../tensor/tensor.ts';
import { broadcast, inferType } from './types.ts';
import {
  describeType,
  sameShape,
  sameType,
  type Extent,
  type OperatorAttributes,
  type OperatorKind,
  type Value,
} from './value.ts';

export interface Graph {
  /** Every input the outputs depend on, by name; feeding others is an error of the runtime. */
  readonly inputs: Readonly<Record<string, Value<'input'>>>;
  readonly outputs: Readonly<Record<string, Value>>;
  /** By name, the shapes of inputs and outputs that have symbolic axes; see `symbolicGraph`. */
  readonly shapes: Readonly<Record<string, readonly Extent[]>>;
  /** Inputs before what uses them; nodes of loop bodies are inside their loop's attributes. */
  readonly nodes: readonly Value[];
}

/** Largest constant a graph may hold; weights and data are inputs, so that one session serves all of them. */
const maximumConstantElements = 2 ** 20;

/**
 * Names the outputs and checks the graph they span.
 * @throws RangeError naming the illegal node: that is a bug of ours, never a user's mistake.
 */
export function graph(outputs: Readonly<Record<string, Value>>): Graph {
  if (Object.keys(outputs).length === 0) throw new RangeError('a graph needs an output');
  const reserved = Object.keys(outputs).find((name) => !isFreeName(name));
  if (reserved !== undefined) throw new RangeError(`"${reserved}" cannot name an output`);
  const intern = interner();
  const merged = Object.fromEntries(Object.entries(outputs).map(([name, value]) => [name, intern(value)]));
  const nodes = topological(Object.values(merged));
  checkLegality(nodes, new Set());
  const inputs: Record<string, Value<'input'>> = {};
  for (const node of nodes) {
    if (node.op !== 'input') continue;
    const { name } = node.attributes;
    if (inputs[name] !== undefined) {
      throw new RangeError(
        `two inputs are called ${name}: ${describeType(inputs[name])} and ${describeType(node)}`,
      );
    }
    if (outputs[name] !== undefined) throw new RangeError(`${name} is the name of an input and of an output`);
    inputs[name] = node;
  }
  return { inputs, outputs: merged, shapes: {}, nodes };
}

/** All values `roots` depend on, inputs before what uses them, except those for which `isOutside`. */
export function topological(
  roots: readonly Value[],
  isOutside: (value: Value) => boolean = () => false,
): readonly Value[] {
  const seen = new Set<Value>();
  const order: Value[] = [];
  const visit = (value: Value): void => {
    if (seen.has(value) || isOutside(value)) return;
    seen.add(value);
    value.inputs.forEach(visit);
    order.push(value);
  };
  roots.forEach(visit);
  return order;
}

/** The nodes of a loop's body: what its results depend on, short of what the loop receives from outside. */
export function loopBody(node: Value<'loop'>): readonly Value[] {
  const { iteration, state, next, collected } = node.attributes;
  const outside = new Set([...node.inputs, iteration, ...state]);
  return topological([...next, ...collected], (value) => outside.has(value));
}

/** Merges structurally equal values (common subexpressions) and lowers operators made of others. */
function interner(): (value: Value) => Value {
  const canonical = new Map<Value, Value>();
  const byKey = new Map<string, Value>();
  const numbers = new Map<Value, number>();
  const intern = (value: Value): Value => {
    const known = canonical.get(value);
    if (known !== undefined) return known;
    const made = merge(value);
    canonical.set(value, made);
    canonical.set(made, made);
    return made;
  };
  const merge = (value: Value): Value => {
    if (value.op === 'stopGradient') return intern(value.inputs[0]!);
    // Shares its sigmoid with the gradient; ONNX Runtime fuses the pair again where nothing else reads it.
    if (value.op === 'silu') return intern(mul(value.inputs[0]!, sigmoid(value.inputs[0]!)));
    const inputs = withoutExpansion(value, value.inputs.map(intern));
    if (value.op === 'loopVariable') return number(value);
    if (value.op === 'loop') {
      const { steps, iteration, state, next, collected } = value.attributes;
      [iteration, ...state].forEach(intern);
      const attributes = {
        steps,
        iteration,
        state,
        next: next.map(intern),
        collected: collected.map(intern),
      };
      // Merging may have changed what the body reads from outside.
      const captured = captures([iteration, ...state], [...attributes.next, ...attributes.collected]);
      return number(rebuilt(value, [...inputs.slice(0, state.length), ...captured], attributes));
    }
    const key = [
      value.op,
      inputs.map((input) => numbers.get(input)).join(),
      describeType(value),
      value.op === 'constant' ? bytesOf(value) : JSON.stringify(value.attributes),
    ].join('|');
    const twin = byKey.get(key);
    if (twin !== undefined) return twin;
    const made = inputs.every((input, index) => input === value.inputs[index])
      ? value
      : rebuilt(value, inputs, value.attributes);
    byKey.set(key, made);
    return number(made);
  };
  const number = (value: Value): Value => {
    numbers.set(value, numbers.size);
    return value;
  };
  return intern;
}

const broadcasting: ReadonlySet<OperatorKind> = new Set([
  'add',
  'sub',
  'mul',
  'div',
  'less',
  'greater',
  'equal',
  'where',
]);

/** Operators that broadcast need no operand written out to the full shape, where another one gives that shape. */
const withoutExpansion = ({ op, shape }: Value, inputs: readonly Value[]): readonly Value[] => {
  if (!broadcasting.has(op)) return inputs;
  return inputs.reduce<readonly Value[]>((kept, operand, index) => {
    if (operand.op !== 'expand') return kept;
    const slim = kept.with(index, operand.inputs[0]!);
    return sameShape(broadcast(...slim.map((input) => input.shape)), shape) ? slim : kept;
  }, inputs);
};

const rebuilt = (
  value: Value,
  inputs: readonly Value[],
  attributes: OperatorAttributes[OperatorKind],
): Value => Object.freeze({ ...value, inputs, attributes }) as Value;

/** The same outputs with some of the values they are made of replaced; the body of a loop stays as it is. */
export function replaceValues<K extends string>(
  outputs: Readonly<Record<K, Value>>,
  replacement: (value: Value) => Value | undefined,
): Readonly<Record<K, Value>> {
  const made = new Map<Value, Value>();
  for (const value of topological(Object.values(outputs))) {
    const inputs = value.inputs.map((operand) => made.get(operand)!);
    const isSame = inputs.every((operand, index) => operand === value.inputs[index]);
    const own = isSame ? value : rebuilt(value, inputs, value.attributes);
    made.set(value, replacement(own) ?? own);
  }
  const replaced = Object.entries<Value>(outputs).map(([name, value]) => [name, made.get(value)!] as const);
  return Object.fromEntries(replaced) as Record<K, Value>;
}

const bytesOf = ({ attributes: { data } }: Value<'constant'>): string =>
  Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('base64');

/** Names with a colon are those that emission gives. */
const isFreeName = (name: string): boolean => name !== '' && !name.includes(':');

/** The spec of a legal graph: each law says what breaks it, or nothing. */
const laws: readonly ((node: Value, variables: ReadonlySet<Value>) => string | false)[] = [
  (node) =>
    node.shape.some((extent) => !Number.isInteger(extent) || extent < 1) &&
    'has an extent that is no positive integer',
  (node) =>
    node.op === 'input' && !isFreeName(node.attributes.name) && `cannot be called "${node.attributes.name}"`,
  (node) =>
    node.op === 'constant' &&
    node.attributes.data.length !== elementCount(node.shape) &&
    'does not fill its shape',
  (node) =>
    elementCount(node.shape) > maximumConstantElements &&
    node.op === 'constant' &&
    'is too large for a constant: feed it as an input',
  (node, variables) =>
    node.op === 'loopVariable' &&
    !variables.has(node) &&
    `(${node.attributes.name}) is used outside its loop`,
  (node) =>
    node.op !== 'result' &&
    node.inputs.some(({ op }) => op === 'loop') &&
    'reads a whole loop instead of a result of it',
  (node) =>
    node.inputs.length > 0 &&
    !sameType(node, inferType<OperatorKind>(node.op, node.inputs, node.attributes)) &&
    'states another type than its inputs give it',
];

function checkLegality(nodes: readonly Value[], variables: ReadonlySet<Value>): void {
  for (const node of nodes) {
    const broken = laws.map((law) => law(node, variables)).find((message) => message !== false);
    if (broken !== undefined)
      throw new RangeError(`illegal graph: ${node.op} ${describeType(node)} ${broken}`);
    if (node.op !== 'loop') continue;
    const { iteration, state } = node.attributes;
    checkLegality(loopBody(node), new Set([...variables, iteration, ...state]));
  }
}
