/** Which modules of a model an adapter's settings mean, by PEFT's rules of matching. */
import type { Reason } from '../ir/reason.ts'

export interface Targets {
  /** Names, each a module's path or a dotted suffix of it; or a regular expression for the whole path. */
  readonly targets: ReadonlyArray<string> | string
  /** Layers by their index; absent: all. A module that is named by its whole path counts whatever its layer. */
  readonly layers?: ReadonlyArray<number>
  /** The names of lists of layers, `layers` in `model.layers.3.mlp`; absent: any. */
  readonly layersPattern?: ReadonlyArray<string>
}

/** Python's `re` writes a few things otherwise. Undefined: not a regular expression. */
export const regex = (pattern: string): RegExp | undefined => {
  try {
    return new RegExp(pattern.replaceAll('(?P<', '(?<').replaceAll('\\Z', '$'))
  } catch {
    return undefined
  }
}

const whole = (pattern: string): RegExp => regex(`^(?:${pattern})$`)!

const named = (module: string, name: string): boolean =>
  module === name || module.endsWith(`.${name}`)

/** The first number in a path that follows a name: the layer's. */
const layerOf = (module: string, patterns: ReadonlyArray<string>): number | undefined => {
  const names = patterns.length === 0 ? ['[^.]*'] : patterns
  const found = names.map((n) => regex(`^(?:.*?\\.)?(?:${n})\\.(\\d+)\\.`)?.exec(module)?.at(-1))
  const index = found.find((i) => i !== undefined)
  return index === undefined ? undefined : Number(index)
}

const inLayers = (module: string, { layers, layersPattern = [] }: Targets): boolean =>
  layers === undefined || layers.includes(layerOf(module, layersPattern) ?? -1)

/** Whether an adapter stands beside a module. A regular expression says itself which layers it means. */
export const isTarget =
  (t: Targets) =>
  (module: string): boolean =>
    typeof t.targets === 'string'
      ? whole(t.targets).test(module)
      : t.targets.includes(module) ||
        (t.targets.some((name) => named(module, name)) && inLayers(module, t))

/** As a pass's name and a plan show them. */
export const showTargets = ({ targets, layers }: Targets): string =>
  (typeof targets === 'string' ? `/${targets}/` : targets.join(' ')) +
  (layers === undefined ? '' : `, layers=${layers.join(' ')}`)

/** Values by regular expression, each for the end of a path: the first that matches. */
export type Pattern = Readonly<Record<string, number>>

const ends = (key: string, module: string): boolean => whole(`(?:.*\\.)?(?:${key})`).test(module)

export const byPattern = (pattern: Pattern | undefined, module: string, otherwise: number) =>
  Object.entries(pattern ?? {}).find(([key]) => ends(key, module))?.[1] ?? otherwise

const lost = (target: string, of: string, known: ReadonlyArray<string>): Reason => ({
  _tag: 'NoMatch',
  target,
  known,
  of,
})

/** What of the settings means none of the modules; null: all of it means some. */
export const withoutMeaning = (
  t: Targets,
  patterns: Readonly<Record<string, Pattern | undefined>>,
  modules: ReadonlyArray<string>,
): Reason | null => {
  const kinds = [...new Set(modules.map((m) => m.split('.').at(-1)!))]
  const { layers, targets, layersPattern = [] } = t
  const idle =
    typeof targets === 'string'
      ? modules.some(isTarget(t))
        ? undefined
        : targets
      : targets.find((name) => !modules.some((m) => named(m, name)))
  if (idle !== undefined) return lost(idle, 'target_modules', kinds)
  const chosen = modules.filter(isTarget(t))
  const there = new Set(modules.map((m) => layerOf(m, layersPattern)))
  const layer = layers?.find((i) => !there.has(i))
  if (layer !== undefined)
    return lost(
      `layer ${layer}`,
      'layers_to_transform',
      [...there].map((i) => `layer ${i ?? 'none'}`),
    )
  for (const [setting, pattern] of Object.entries(patterns)) {
    const key = Object.keys(pattern ?? {}).find((k) => !chosen.some((m) => ends(k, m)))
    if (key !== undefined) return lost(key, setting, chosen)
  }
  return null
}
