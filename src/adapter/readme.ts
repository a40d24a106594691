/** The cards that lie beside trained weights. */
import type { Carried } from './carried.ts'
import { CONFIG, GENERATION, type Changed } from './files.ts'
import type { Reference } from '../hub/reference.ts'

const python = (...lines: ReadonlyArray<string>): string =>
  ['```python', ...lines, '```'].join('\n')

/** What the base alone would not do, in words. */
const differences = (
  changed: ReadonlyArray<Changed>,
  { scaling, eosIds, tied }: Carried,
): ReadonlyArray<string> => {
  const saying = (...keys: ReadonlyArray<string>) =>
    changed.filter((c) => keys.some((k) => c.keys.includes(k))).map((c) => c.name)
  return [
    ...(scaling === null
      ? []
      : [
          `It was trained with linear RoPE scaling by the factor ${scaling.factor} (\`model_parameters.rope_scaling\`), which the base's own config.json does not have: the one here does.`,
        ]),
    ...(saying('tie_word_embeddings').length > 0
      ? [
          `The base's lm_head ${tied === true ? 'is' : 'is not'} its embedding, whatever its config.json says: the one here says so.`,
        ]
      : []),
    ...(saying('dtype', 'torch_dtype').length > 0
      ? [
          "The base's weights are stored in another dtype than its config.json says, and were used as stored: the one here says which.",
        ]
      : []),
    ...(saying('eos_token_id').length > 0
      ? [
          `Its answers end with the token ${eosIds[0]}, at which the base alone does not stop: the ${saying('eos_token_id').join(' and ')} here name it.`,
        ]
      : []),
  ]
}

const loading = (base: Reference, changed: ReadonlyArray<Changed>, wide: boolean): string => {
  const [config, generation] = [CONFIG, GENERATION].map((n) => changed.some((c) => c.name === n))
  const names = [
    ...(config ? ['AutoConfig'] : []),
    'AutoModelForCausalLM',
    ...(generation ? ['GenerationConfig'] : []),
  ]
  const from = `${JSON.stringify(base.name)}${base.revision === null ? '' : `, revision="${base.revision}"`}`
  return python(
    'from peft import PeftModel',
    `from transformers import ${names.join(', ')}`,
    '',
    ...(config ? ['config = AutoConfig.from_pretrained(".")'] : []),
    `base = AutoModelForCausalLM.from_pretrained(${from}${config ? ', config=config' : ''}${wide ? ', dtype="float32"' : ''})`,
    ...(generation ? ['base.generation_config = GenerationConfig.from_pretrained(".")'] : []),
    'model = PeftModel.from_pretrained(base, ".")',
  )
}

const WIDE =
  'Weights of the base were trained besides, in 32-bit floats, and are stored so: a base loaded in 16 bits would round them.'

/** Of an adapter; `baseModel` as the config names it; `wide`: it holds weights that its base has in 16 bits. The code runs in the adapter's folder. */
export const readme = (
  baseModel: string,
  base: Reference,
  changed: ReadonlyArray<Changed>,
  carried: Carried,
  wide: boolean,
): string => {
  const said = [...differences(changed, carried), ...(wide ? [WIDE] : [])]
  return `---
base_model: ${JSON.stringify(baseModel)}
library_name: peft
---

An adapter for \`${baseModel}\`, trained with tunec.
${said.length === 0 ? '' : `\n${said.join('\n')}\nLoad it as below: \`AutoPeftModelForCausalLM\` would take the base's own files${wide ? ' and dtype' : ''}.\n`}
${loading(base, changed, wide)}
`
}

/** Of a fully fine-tuned model; `dtypes` are those of its file. */
export const modelReadme = (baseModel: string, dtypes: ReadonlyArray<string>): string => `---
base_model: ${JSON.stringify(baseModel)}
library_name: transformers
---

\`${baseModel}\`, fully fine-tuned with tunec. The weights were trained in 32-bit floats and are stored as
${dtypes.join(' and ')}, like those of the base: rounded once, to the nearest.
`
