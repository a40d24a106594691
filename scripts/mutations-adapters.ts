/** Adapters broken. */
import { m, type Mutation } from './mutation.ts'

export const adapterMutations: ReadonlyArray<Mutation> = [
  m(
    'PiSSA takes twice what it gives',
    'backends/materialize.ts',
    'added(w, factors, r, -scale)',
    'added(w, factors, r, -2 * scale)',
    'adapter-kinds',
  ),
  m(
    'what B started as is added, not taken away',
    'src/adapter/written.ts',
    '-then[row * r + k - r]!',
    'then[row * r + k - r]!',
    'adapter-kinds',
  ),
  m('PiSSA takes the least', 'ir/factors.ts', 'b.value - a.value', 'a.value - b.value', 'initial'),
  m(
    'DoRA measures the rows of W alone',
    'ir/ops/adapters.ts',
    '(w[o * into + c]! + by * low) ** 2',
    'w[o * into + c]! ** 2',
    'adapter-kinds',
  ),
  m(
    'lengths of rows start from weights that are not rounded',
    'passes/quantize.ts',
    "r._tag === 'norms' && r.of._tag === 'load' && chosen.has(r.of.key)",
    'false',
    'passes',
  ),
  m(
    'LoRA+ hastens A',
    'passes/optimizer.ts',
    "name.endsWith('.lora_B.weight')",
    "name.endsWith('.lora_A.weight')",
    'adapter-kinds',
  ),
  m('LoRA scales by alpha', 'passes/lora.ts', 'Math.sqrt(r) : r)', 'Math.sqrt(r) : 1)', 'passes'),
  m(
    'rank-stabilized LoRA is not',
    'passes/lora.ts',
    'o.rslora === true ? Math.sqrt(r) : r',
    'o.rslora === true ? r : r',
    'adapter-kinds',
  ),
  m(
    'layers of adapters are counted from one',
    'passes/targets.ts',
    'return index === undefined ? undefined : Number(index)',
    'return index === undefined ? undefined : Number(index) + 1',
    'adapter-kinds',
  ),
  m(
    'a rank for the end of a path is one for whole paths',
    'passes/targets.ts',
    '`(?:.*\\\\.)?(?:${key})`',
    '`(?:${key})`',
    'adapter-kinds',
  ),
  m(
    'a head trained apart stays the embedding',
    'passes/saved.ts',
    "at === undefined || eqn.op === 'embed'",
    "at === undefined || eqn.op !== 'embed'",
    'adapter-kinds',
  ),
  m(
    'LoRA drops out in evaluation',
    'passes/lora.ts',
    'o.dropout > 0 && fn.minimizes !== undefined',
    'o.dropout > 0',
    'passes',
  ),
  m(
    'LoRA leaves the model trainable',
    'passes/lora.ts',
    "also.has(name) ? 'train' : 'frozen'",
    "also.has(name) ? 'train' : was",
    'passes',
  ),
]
