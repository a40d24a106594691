/** adapter_config.json of IA³, as PEFT writes and reads it. */
import * as E from 'fp-ts/lib/Either.js'
import * as t from 'io-ts'
import type { Ia3 } from '../../passes/index.ts'
import type { Reference } from '../hub/reference.ts'
import { issue, type Issue } from '../issue.ts'
import type { JsonObject } from '../tokenizer/json.ts'

export const ia3Keys = (o: Ia3, base: Reference): object => ({
  base_model_name_or_path: base.name,
  fan_in_fan_out: false,
  feedforward_modules: o.inputs,
  inference_mode: true,
  init_ia3_weights: true,
  modules_to_save: o.save ?? null,
  peft_type: 'IA3',
  ...(base.revision === null ? {} : { revision: base.revision }),
  target_modules: o.targets,
  task_type: 'CAUSAL_LM',
})

const modules = t.union([t.readonlyArray(t.string), t.string])
const codec = t.intersection([
  t.type({ target_modules: modules, feedforward_modules: modules }),
  t.partial({ modules_to_save: t.union([t.readonlyArray(t.string), t.null]) }),
])

const empty = (v: unknown): boolean =>
  v === undefined || v === null || v === false || (Array.isArray(v) && v.length === 0)

export const ia3Of = (given: JsonObject): E.Either<Issue, Ia3> => {
  const json: unknown = given
  if (!codec.is(json))
    return E.left(
      issue('this does not describe an IA3 adapter', {
        expected: 'target_modules and feedforward_modules, as PEFT writes them',
      }),
    )
  const odd = ['fan_in_fan_out', 'exclude_modules'].find((key) => !empty(given[key]))
  if (odd !== undefined)
    return E.left(
      issue(`the adapter sets ${odd}, which is not supported`, {
        path: odd,
        expected: 'false, null or empty',
      }),
    )
  const { target_modules: targets, feedforward_modules: inputs, modules_to_save: save } = json
  return E.right({ kind: 'ia3', targets, inputs, ...(empty(save) ? {} : { save: save! }) })
}
