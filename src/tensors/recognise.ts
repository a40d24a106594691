/** Names what a file or folder holds when it is not safetensors, and how to get what is needed. */
import * as O from 'fp-ts/lib/Option.js'
import { type Issue, issue } from '../issue.ts'

const asSafetensors =
  'get the model in safetensors, or convert it with ' +
  '`AutoModelForCausalLM.from_pretrained(…).save_pretrained(…, safe_serialization=True)`'
const again = 'download it again, and check the address and the access rights'

const startsWith = (bytes: Uint8Array, ...start: ReadonlyArray<number>): boolean =>
  start.every((byte, i) => bytes[i] === byte)

const isText = (bytes: Uint8Array): boolean =>
  bytes.length > 0 && bytes.every((b) => (b >= 0x20 && b < 0x7f) || (b >= 0x09 && b <= 0x0d))

const pointer = (text: string, wanted: string): Issue => {
  const size = /^size (\d+)$/m.exec(text)?.[1]
  return issue('the file is a Git LFS pointer, not the data itself', {
    expected: size === undefined ? wanted : `the file of ${size} bytes that it points to`,
    hint: 'run `git lfs install` and `git lfs pull` in the folder, or download the file itself',
  })
}

const textFile = (text: string, wanted: string): Issue => {
  if (text.startsWith('version https://git-lfs')) return pointer(text, wanted)
  if (/^\s*<(!doctype|html|\?xml|head|body)/i.test(text))
    return issue('the file is a web page, as a failed download leaves it', {
      expected: wanted,
      hint: again,
    })
  const line = text.trim().split(/[\r\n]/)[0] ?? ''
  const shown = line.length > 60 ? `${line.slice(0, 60)}…` : line
  return issue(`the file is text that begins with \`${shown}\``, { expected: wanted, hint: again })
}

const formats: ReadonlyArray<readonly [magic: ReadonlyArray<number>, name: string]> = [
  [[0x50, 0x4b, 0x03, 0x04], 'a ZIP archive, as PyTorch writes `.bin` and `.pt` files'],
  [[0x80, 0x02, 0x8a, 0x0a], 'a pickle of PyTorch'],
  [[0x80, 0x04, 0x95], 'a Python pickle'],
  [[0x47, 0x47, 0x55, 0x46], 'a GGUF file of llama.cpp'],
  [[0x89, 0x48, 0x44, 0x46], 'an HDF5 file, as Keras writes it'],
  [[0x93, 0x4e, 0x55, 0x4d], 'a NumPy array'],
  [[0x1f, 0x8b], 'a gzip archive'],
]

/** What a file is that is not `wanted`, from its first bytes (a few hundred) and its size. */
export const recogniseFile = (
  first: Uint8Array,
  size: number,
  wanted = 'a safetensors file',
): O.Option<Issue> => {
  if (size === 0) return O.some(issue('the file is empty', { expected: wanted, hint: again }))
  // Eight bytes of length and `{`: a safetensors file that may be damaged.
  if (first[8] === 0x7b && !startsWith(first, 0x50, 0x4b)) return O.none
  const format = formats.find(([magic]) => startsWith(first, ...magic))
  if (format)
    return O.some(issue(`the file is ${format[1]}`, { expected: wanted, hint: asSafetensors }))
  if (first.every((byte) => byte === 0))
    return O.some(
      issue('the file is filled with zeros, as an interrupted download leaves it', {
        expected: wanted,
        hint: again,
      }),
    )
  return isText(first) ? O.some(textFile(new TextDecoder().decode(first), wanted)) : O.none
}

const contents: ReadonlyArray<readonly [names: RegExp, what: string, hint: string]> = [
  [
    /^model-\d+-of-\d+\.safetensors$/,
    'shards without their `model.safetensors.index.json`',
    'the download or export did not finish: do it again',
  ],
  [
    /^adapter_model\.(safetensors|bin)$/,
    'an adapter, not a whole model',
    'name the folder of the base model',
  ],
  [
    /\.safetensors$/,
    'safetensors under another name',
    'the weights must be in `model.safetensors`',
  ],
  [/\.(bin|pt|pth|ckpt)(\.index\.json)?$/, 'PyTorch pickles', asSafetensors],
  [/\.gguf$/, 'a GGUF file of llama.cpp', 'get the original model in safetensors'],
  [/\.(h5|msgpack)$/, 'TensorFlow or Flax weights', asSafetensors],
]

/** Why a folder with these file names is no checkpoint. */
export const recogniseFolder = (folder: string, names: ReadonlyArray<string>): Issue => {
  const expected = '`model.safetensors`, or `model.safetensors.index.json` with its shards'
  for (const [pattern, what, hint] of contents) {
    const name = names.toSorted().find((n) => pattern.test(n))
    if (name !== undefined)
      return issue(`the folder holds ${what} (\`${name}\`)`, { file: folder, expected, hint })
  }
  return issue('the folder holds no weights', { file: folder, expected, hint: 'check the path' })
}
