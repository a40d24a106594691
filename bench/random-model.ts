/** Weights for measuring: the same random numbers in every run, written into a session. */
import { encode } from '../backends/bytes.ts'
import type { CudaSession } from '../backends/cuda/session.ts'
import type { State } from '../ir/graph.ts'
import { bytes, isEncoded, parts, size, tensor } from '../ir/type.ts'
import { right } from './right.ts'

/** A linear congruence: the same numbers in every run. */
export const random = (n: number, seed: number): Uint32Array => {
  const r = new Uint32Array(n)
  let x = seed >>> 0
  for (let i = 0; i < n; i++) r[i] = x = (Math.imul(x, 1664525) + 1013904223) >>> 0
  return r
}
const noise = random(2 ** 22, 7)
const gauss = Float32Array.from({ length: 2 ** 20 }, (_, i) => {
  const [a, b] = [(noise[2 * i]! + 1) / 2 ** 32, noise[2 * i + 1]! / 2 ** 32]
  return Math.sqrt(-2 * Math.log(a)) * Math.cos(2 * Math.PI * b)
})

/** Codes of normally distributed weights of deviation 0.02: random bytes, scales near 0.06. */
const contents = (s: State): Uint8Array => {
  const n = size(s.type)
  if (isEncoded(s.type.dtype)) {
    const out = new Uint8Array(bytes(s.type))
    const bytesOfNoise = new Uint8Array(noise.buffer)
    for (const p of parts(s.type)) {
      if (p.dtype === 'u8')
        for (let i = 0; i < p.count; i += bytesOfNoise.length)
          out.set(bytesOfNoise.subarray(0, Math.min(bytesOfNoise.length, p.count - i)), p.at + i)
      else new Float32Array(out.buffer, p.at, p.count).fill(p.name === 'offset' ? 0.05 : 0.005)
    }
    return out
  }
  const deviation = /norm/.test(s.name) ? 0.1 : /lora/.test(s.name) ? 0.01 : 0.02
  const mean = /norm/.test(s.name) ? 1 : 0
  const block = tensor(s.type.dtype, Math.min(n, gauss.length))
  const some = encode(
    block,
    gauss.subarray(0, size(block)).map((x) => x * deviation + mean),
  )
  const out = new Uint8Array(bytes(s.type))
  for (let at = 0; at < out.length; at += some.length)
    out.set(some.subarray(0, out.length - at), at)
  return out
}

export const fill = async (s: CudaSession): Promise<void> => {
  for (const x of s.lowered.program.state) {
    if (x.role === 'frozen' || x.role === 'train') right(await s.write(x.name, contents(x))())
  }
}

export const median = (list: ReadonlyArray<number>): number =>
  [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)]!
