/** The launch list as text, a line a launch: what runs, over which bytes of the arena, for which equations, and the least time it can take. */
import type { Arg, Cost, Launch, Matrix, Work } from '../launch.ts'
import { isFp8 } from '../driver/product.ts'
import type { Lowered, LoweredFn } from './lower.ts'

/** 8-bit products run at twice the rate of 16-bit ones. */
const rateOf = (c: Cost | Launch, at: Ceilings): number =>
  '_tag' in c && c._tag === 'product' && isFp8(c.a.dtype) ? 2 * at.flops : at.flops

/** Rates that floors are computed with: bytes a second of a copy (read and write counted), FLOPs a second of a product. */
export interface Ceilings {
  readonly bytes: number
  readonly flops: number
}

/** An H100 80GB HBM3: copy 3.0 TB/s and bf16 product 800 TFLOP/s, as measured. */
export const h100: Ceilings = { bytes: 3.0e12, flops: 8.0e14 }

/** Seconds that moving the bytes or doing the operations takes at least. */
export const floorOf = (c: Cost | Launch, at: Ceilings): number =>
  Math.max(c.bytes / at.bytes, c.flops / rateOf(c, at))

const argText = (a: Arg): string => {
  switch (a._tag) {
    case 'at':
      return `@${a.offset}`
    case 'null':
      return 'null'
    case 'map':
      return `map(@${a.offset} ${a.rows}×${a.columns}/${a.ld} box ${a.boxRows})`
    default:
      return String(a.value)
  }
}

const matrixText = (m: Matrix, t: boolean): string =>
  `${m.dtype}[${m.rows}, ${m.columns}]/${m.ld}@${m.offset}${t ? 'ᵀ' : ''}${m.scales === undefined ? '' : `*@${m.scales}`}`

const defines = (d: Readonly<Record<string, string | number>>): string =>
  Object.entries(d)
    .map(([k, v]) => (v === '' ? k : `${k}=${v}`))
    .join(' ')

export const workText = (l: Work): string => {
  switch (l._tag) {
    case 'kernel':
      return `${l.kernel.source}.${l.kernel.name}<${defines(l.kernel.defines)}> grid ${l.grid.join('×')} block ${l.block}${l.shared > 0 ? ` shared ${l.shared}` : ''}${l.early === true ? ' early' : ''} (${l.args.map(argText).join(', ')})`
    case 'product':
      return `product ${matrixText(l.d, false)} = ${l.alpha === 1 ? '' : `${l.alpha}·`}${matrixText(l.a, l.ta)} · ${matrixText(l.b, l.tb)}${l.c === null ? '' : ` + ${matrixText(l.c, false)}`}`
    case 'clear':
      return `clear @${l.offset} ${l.length} bytes`
    case 'copy':
      return `copy @${l.to} = @${l.from} ${l.length} bytes`
  }
}

/** `3-9 12`: runs of neighbours together. */
export const ranges = (list: ReadonlyArray<number>): string => {
  const sorted = [...new Set(list)].sort((a, b) => a - b)
  const runs: Array<[number, number]> = []
  for (const n of sorted) {
    const last = runs.at(-1)
    if (last !== undefined && last[1] === n - 1) last[1] = n
    else runs.push([n, n])
  }
  return runs.map(([a, b]) => (a === b ? `${a}` : `${a}-${b}`)).join(' ')
}

const us = (s: number): string => (s * 1e6).toFixed(2)

const lineText = (l: Launch, i: number, at: Ceilings): string =>
  `  ${String(i).padStart(4)} ${workText(l)}  # ${l.rule}, ${l.group}, equations ${ranges(l.covers)}, ${l.bytes} bytes, ${l.flops} flops, floor ${us(floorOf(l, at))} us`

const floorOfAll = (list: ReadonlyArray<Launch>, at: Ceilings): string =>
  us(list.reduce((s, l) => s + floorOf(l, at), 0))

export const fnText = (f: LoweredFn, at: Ceilings): string =>
  [
    `@${f.name}: ${f.launches.length} launches, floor ${floorOfAll(f.launches, at)} us, temporaries end at ${f.end}`,
    ...f.inputs.map((p) => `  in  ${p.name} @${p.offset}`),
    ...f.launches.map((l, i) => lineText(l, i, at)),
    ...f.outs.map((p) => `  out ${p.name} @${p.offset}`),
  ].join('\n')

/** What runs once after state was written; nothing where there are none. */
export const constantsText = ({ constants: { launches, end } }: Lowered, at: Ceilings): string =>
  launches.length === 0
    ? ''
    : [
        `constants: ${launches.length} launches, floor ${floorOfAll(launches, at)} us, end at ${end}`,
        ...launches.map((l, i) => lineText(l, i, at)),
      ].join('\n')

export const headText = (l: Lowered): string =>
  `${l.program.name} for sm_${l.target.arch} with ${l.target.sms} multiprocessors: arena of ${l.arenaBytes} bytes`

const once = (l: Lowered, at: Ceilings): ReadonlyArray<string> =>
  l.constants.launches.length === 0 ? [] : [constantsText(l, at)]

export const loweredText = (l: Lowered, at: Ceilings = h100): string =>
  [headText(l), ...once(l, at), ...l.fns.map((f) => fnText(f, at)), ''].join('\n\n')
