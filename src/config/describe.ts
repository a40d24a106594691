/** A value that does not fit, said in words: what it is, what was expected, how to mend it. */
import { ludwigValue } from './ludwig/values.ts'
import { nearest } from './nearest.ts'
import type { Problem } from './problem.ts'
import { wordsOf } from './schema/codec.ts'
import { shorten, showPath, type Path } from './yaml/node.ts'

const feature = (name: string): string => `add the column's name, as in \`name: ${name}\``

/** What to write where a key that has no default is missing. */
const additions: ReadonlyMap<string, string> = new Map([
  [
    'model_type',
    'add `model_type: llm`; without it Ludwig reads the file as ECD and ignores `base_model`, ' +
      '`adapter` and `quantization`',
  ],
  [
    'base_model',
    'add `base_model: path/to/model`, a folder with config.json, tokenizer.json and safetensors files',
  ],
  ['input_features', 'add `input_features: [{name: prompt, type: text}]`'],
  ['output_features', 'add `output_features: [{name: output, type: text}]`'],
  ['input_features[0].name', feature('instruction')],
  ['output_features[0].name', feature('output')],
  ['input_features[0].type', 'add `type: text`'],
  ['output_features[0].type', 'add `type: text`'],
  [
    'trainer.type',
    'add `type: finetune`, or `type: none` where nothing is trained; Ludwig refuses a trainer without it',
  ],
  ['adapter.type', 'add `type: lora`'],
  ['model_parameters.rope_scaling.rope_type', 'add `rope_type: linear`'],
  ['model_parameters.rope_scaling.factor', 'add `factor: 2` for twice the length'],
])

export const showValue = (value: unknown): string => {
  if (value === null) return 'empty'
  if (Array.isArray(value)) {
    const shown = `[${value.map(showValue).join(', ')}]`
    const isShort = shown.length <= 40 && value.every((v) => typeof v !== 'object')
    return isShort ? shown : `a list of ${value.length}`
  }
  if (typeof value === 'string') return shorten(JSON.stringify(value), 40)
  return typeof value === 'object' ? 'a map of keys' : String(value)
}

/** Any codec of the schema. */
interface Named {
  readonly name: string
}

/** The modules of a layer in the models that are known. */
const modules = ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj']

/** PEFT takes a regular expression for `target_modules`; those it names are a list of the same meaning as a rule. */
const asList = (pattern: string): string => {
  if (/^[\w.]+$/.test(pattern)) return `write it as a list: [${shorten(pattern, 60)}]`
  const named = modules.filter((m) => pattern.includes(m))
  return `write names instead of a pattern, as in \`target_modules: [${(named.length > 0 ? named : modules.slice(0, 4)).join(', ')}]\``
}

const hintFor = (shown: string, codec: Named, value: unknown): string | undefined => {
  if (value === null) return additions.get(shown) ?? 'leave the key out, or give it a value'
  if (codec.name.startsWith('non-empty text')) {
    if (typeof value === 'object')
      return 'put the text in quotes: `{` and `[` have a meaning in YAML'
    return typeof value === 'string' ? undefined : 'put it in quotes'
  }
  if (codec.name.includes('list of module names') && typeof value === 'string') return asList(value)
  const word = typeof value === 'string' ? nearest(value, wordsOf(codec)) : undefined
  return word === undefined ? undefined : `did you mean \`${word}\`?`
}

/** `value` stands at `path`, where `codec` does not take it; undefined: nothing stands there. */
export const describeMisfit = (path: Path, value: unknown, codec: Named): Problem => {
  const shown = showPath(path)
  const expected = codec.name
  if (value === undefined) {
    const hint = additions.get(shown)
    return { message: `\`${shown}\` is missing`, path, of: 'key', expected, ...(hint && { hint }) }
  }
  const instead = ludwigValue(shown, value)
  if (instead !== undefined) {
    const message = `Ludwig knows \`${String(value)}\` for \`${shown}\`; tunec does not yet`
    return { message, path, expected, hint: instead }
  }
  const hint = hintFor(shown, codec, value)
  return { message: `\`${shown}\` is ${showValue(value)}`, path, expected, ...(hint && { hint }) }
}
