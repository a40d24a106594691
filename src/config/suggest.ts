/** What a key that nobody knows was probably meant to be, here or in another section. */
import type { Known } from './ludwig/known.ts'
import { ludwigKeys } from './ludwig/keys.ts'
import { nearest } from './nearest.ts'
import { isListOf, propsOf } from './schema/codec.ts'
import { configCodec } from './schema/config.ts'
import { showPath, type Path } from './yaml/node.ts'

interface Place {
  readonly section: string
  readonly key: string
  /** Of a key that tunec lacks: what to do instead. */
  readonly instead?: string
}

const placesIn = (codec: object, path: Path): ReadonlyArray<Place> =>
  Object.entries(propsOf(codec) ?? {}).flatMap(([key, inner]) => [
    { section: showPath(path), key },
    ...placesIn(inner, isListOf(inner) ? [...path, key, '0'] : [...path, key]),
  ])

const ludwigPlaces = (known: Known, path: Path): ReadonlyArray<Place> =>
  Object.entries(known).flatMap(([key, row]) =>
    'section' in row
      ? ludwigPlaces(row.section, key.endsWith('_features') ? [...path, key, '0'] : [...path, key])
      : [
          {
            section: showPath(path),
            key,
            ...(typeof row.instead === 'string' ? { instead: row.instead } : {}),
          },
        ],
  )

export const supported = placesIn(configCodec, [])
const unsupported = ludwigPlaces(ludwigKeys, [])

/** Other tools' names for the same thing. */
export const synonyms: ReadonlyMap<string, string> = new Map([
  ['rank', 'adapter.r'],
  ['lora_r', 'adapter.r'],
  ['lora_alpha', 'adapter.alpha'],
  ['lora_dropout', 'adapter.dropout'],
  ['lora_target_modules', 'adapter.target_modules'],
  ['lr', 'trainer.learning_rate'],
  ['num_epochs', 'trainer.epochs'],
  ['num_train_epochs', 'trainer.epochs'],
  ['max_steps', 'trainer.train_steps'],
  ['per_device_train_batch_size', 'trainer.batch_size'],
  ['micro_batch_size', 'trainer.batch_size'],
  ['gradient_checkpointing', 'trainer.enable_gradient_checkpointing'],
  ['max_grad_norm', 'trainer.gradient_clipping.clipglobalnorm'],
  ['clip_global_norm', 'trainer.gradient_clipping.clipglobalnorm'],
  ['warmup_ratio', 'trainer.learning_rate_scheduler.warmup_fraction'],
  ['lr_scheduler_type', 'trainer.learning_rate_scheduler.decay'],
  ['max_tokens', 'generation.max_new_tokens'],
  ['max_seq_length', 'preprocessing.global_max_sequence_length'],
  ['global_max_seq_length', 'preprocessing.global_max_sequence_length'],
  ['quantization_type', 'quantization.bnb_4bit_quant_type'],
  ['quantization.quant_type', 'quantization.bnb_4bit_quant_type'],
  ['quantization.compute_dtype', 'quantization.bnb_4bit_compute_dtype'],
  ['quantization.use_double_quant', 'quantization.bnb_4bit_use_double_quant'],
  ['quantization.double_quant', 'quantization.bnb_4bit_use_double_quant'],
  ['seed', 'random_seed'],
  ['model', 'base_model'],
  ['dataset_path', 'compiler.dataset'],
])

/** Keys that another tool or another task has, and what to write for them here; with their section where it matters. */
export const sayings: ReadonlyMap<string, string> = new Map([
  ['lora', 'write it as `adapter`, and set `adapter.type: lora`'],
  ['load_in_4bit', 'leave it out, and set `quantization.bits: 4`'],
  ['load_in_8bit', 'leave it out, and set `quantization.bits: 8`'],
  ['bf16', 'leave it out, and set `compiler.compute_dtype: bfloat16`'],
  ['fp16', 'leave it out, and set `compiler.compute_dtype: float16`'],
  ['dpo_beta', 'leave it out: it belongs to a trainer of `type: dpo`'],
  ['dpo_loss_type', 'leave it out: it belongs to a trainer of `type: dpo`'],
  ['dpo_label_smoothing', 'leave it out: it belongs to a trainer of `type: dpo`'],
  ['kto_beta', 'leave it out: it belongs to a trainer of `type: kto`'],
  ['orpo_beta', 'leave it out: it belongs to a trainer of `type: orpo`'],
  ['trainer.optimizer.params', 'write its keys one level up, in `trainer.optimizer`'],
])

const under = ({ section, key }: Place): string =>
  section === '' ? `\`${key}\` belongs at the top level` : `\`${key}\` belongs under \`${section}\``

const elsewhere = (places: ReadonlyArray<Place>): string | undefined => {
  const [first, ...rest] = places
  if (first === undefined || rest.length > 2) return undefined
  const also = rest.map((p) => `\`${p.section}\``)
  return [under(first), ...also].join(' or ')
}

const synonym = (section: string, key: string): string | undefined => {
  const word = key.toLowerCase()
  const meant = synonyms.get(`${section}.${word}`) ?? synonyms.get(word)
  if (meant === undefined) return undefined
  const here = section === '' ? meant : meant.slice(section.length + 1)
  const isHere = !here.includes('.') && (section === '' || meant.startsWith(`${section}.`))
  return `did you mean \`${isHere ? here : meant}\`?`
}

/** A hint for an unknown key of a section (`trainer`, `` for the top level). */
export const suggestKey = (section: string, key: string): string | undefined => {
  const inSection = supported.filter((p) => p.section === section).map((p) => p.key)
  const near = nearest(key, inSection)
  const far = nearest(
    key,
    supported.map((p) => p.key),
  )
  const lookAt = (word: string | undefined) =>
    word === undefined ? undefined : elsewhere(supported.filter((p) => p.key === word))
  const known = unsupported.find((p) => p.key === key)
  return (
    sayings.get(`${section}.${key}`) ??
    sayings.get(key.toLowerCase()) ??
    synonym(section, key) ??
    // The same word but for its end is nearer than the very word elsewhere.
    (near?.startsWith(key) === true ? `did you mean \`${near}\`?` : undefined) ??
    lookAt(key) ??
    (near === undefined ? undefined : `did you mean \`${near}\`?`) ??
    (known && `${known.instead ?? 'leave it out'} (Ludwig has it under \`${known.section}\`)`) ??
    (far === undefined ? undefined : prefixed(far, lookAt(far)))
  )
}

const prefixed = (word: string, where: string | undefined): string | undefined =>
  where === undefined ? undefined : `did you mean \`${word}\`? ${where}`
