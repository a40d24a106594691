/** What NVRTC compiles for a launch list: each source once for each set of macros, with the kernels that are taken from it. */
import { ownProduct } from '../bind.ts'
import type { Kernel, KernelLaunch } from '../launch.ts'
import { sourceOf } from '../sources.ts'
import type { Lowered } from './lower.ts'

export interface KernelUnit {
  /** `norm.cu`. */
  readonly source: string
  readonly defines: Kernel['defines']
  readonly needs: ReadonlyArray<Kernel['needs']>
  readonly kernels: ReadonlyArray<string>
  /** Taken only where the library has no algorithm for a product. */
  readonly fallback: boolean
}

const sortedDefines = (d: Kernel['defines']): ReadonlyArray<readonly [string, string | number]> =>
  Object.entries(d).toSorted(([a], [b]) => (a < b ? -1 : 1))

/** `norm-E_BF16`, `attention-E_BF16-WARPS_4`: a macro of value 1 is its name. */
export const unitName = (u: Pick<KernelUnit, 'source' | 'defines'>): string =>
  [
    u.source.replace(/\.cu$/, ''),
    ...sortedDefines(u.defines).map(([k, v]) => (v === 1 || v === '' ? k : `${k}_${v}`)),
  ].join('-')

interface Use {
  readonly launch: KernelLaunch
  readonly fallback: boolean
}

/** Every kernel launch of the list, and those that stand by for its products. */
export const usesOf = (l: Lowered): ReadonlyArray<Use> =>
  [l.constants, ...l.fns].flatMap((f) =>
    f.launches.flatMap((x): ReadonlyArray<Use> => {
      if (x._tag === 'kernel') return [{ launch: x, fallback: false }]
      return x._tag === 'product' ? [{ launch: ownProduct(x), fallback: true }] : []
    }),
  )

/** In order of their names; `besides`: launches outside the functions, such as those of loading. */
export const unitsOf = (
  l: Lowered,
  besides: ReadonlyArray<KernelLaunch> = [],
): ReadonlyArray<KernelUnit> => {
  const units = new Map<string, KernelUnit>()
  const all = [...usesOf(l), ...besides.map((launch) => ({ launch, fallback: false }))]
  for (const { launch, fallback } of all) {
    const { source, defines, needs, name } = launch.kernel
    const key = unitName({ source, defines })
    const u = units.get(key) ?? { source, defines, needs: [], kernels: [], fallback: true }
    units.set(key, {
      ...u,
      needs: [...new Set([...u.needs, needs])],
      kernels: [...new Set([...u.kernels, name])].toSorted(),
      fallback: u.fallback && fallback,
    })
  }
  return [...units].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, u]) => u)
}

/** The unit as one file that stands alone: what is in it, its macros, the common prefix, the source. */
export const unitText = (u: KernelUnit): string =>
  [
    `// ${u.source}: ${u.kernels.join(', ')}`,
    ...(u.fallback ? ['// taken only where the library has no algorithm for a product'] : []),
    ...sortedDefines(u.defines).map(([k, v]) => `#define ${k} ${v}`),
    '',
    sourceOf(u.source),
  ].join('\n')
