/** Reads a trusted safetensors fixture without the project's own reader. */
import fs from 'node:fs'

export type Stored = ReadonlyMap<string, Float32Array | Float64Array | Int32Array>

interface Entry {
  readonly dtype: 'F32' | 'F64' | 'I32'
  readonly data_offsets: readonly [number, number]
}

export const tensorsOf = (file: string): Stored => {
  const all = fs.readFileSync(file)
  const header = Number(all.readBigUInt64LE(0))
  const entries = JSON.parse(all.toString('utf8', 8, 8 + header)) as Record<string, Entry>
  delete entries['__metadata__']
  const make = { F32: Float32Array, F64: Float64Array, I32: Int32Array }
  return new Map(
    Object.entries(entries).map(([name, e]) => {
      const bytes = Uint8Array.from(
        all.subarray(8 + header + e.data_offsets[0], 8 + header + e.data_offsets[1]),
      )
      return [name, new make[e.dtype](bytes.buffer)]
    }),
  )
}
