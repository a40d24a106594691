/** Whether a model's folder holds weights at all. */
import fs from 'node:fs'

/** Something that is meant as weights, in whatever format. */
export const holdsWeights = (folder: string): boolean =>
  fs
    .readdirSync(folder)
    .some((n) => /\.(safetensors|bin|pt|pth|ckpt|gguf|h5|msgpack)(\.index\.json)?$/.test(n))
