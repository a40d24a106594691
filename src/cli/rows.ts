/** Which rows a command looks at: a split of the run's own data, or other data. */
import type { SplitName } from '../data/split.ts'
import { datasetArgument } from '../hub/dataset-path.ts'
import { textOf, type Options } from './command.ts'
import type { Trained } from './trained.ts'

export type Wanted = SplitName | 'full'

export const splitIn = (o: Options): Wanted =>
  (textOf(o, 'split') as Wanted | undefined) ??
  (textOf(o, 'dataset') === undefined ? 'test' : 'full')

/** The split that holds the wanted rows once `withRows` has been at the config. */
export const splitOf = (wanted: Wanted): SplitName => (wanted === 'full' ? 'train' : wanted)

/** Other data than the run's; `full` puts every row into one split. */
export const withRows = (x: Trained, o: Options, wanted: Wanted): Trained => {
  const dataset = textOf(o, 'dataset')
  const { preprocessing: p, compiler } = x.config
  const all = { type: 'random' as const, probabilities: [1, 0, 0] as const }
  // The rows that prompts show are those the run learned from, or would.
  const own = x.config.compiler.dataset === null && wanted !== 'full'
  const others = (dataset !== undefined || wanted === 'full') && !own
  return {
    ...x,
    examples: others ? { config: x.config, folder: x.folder } : null,
    config: {
      ...x.config,
      preprocessing:
        wanted === 'full' ? { ...p, sample_ratio: 1, sample_size: null, split: all } : p,
      // Rows of other data may be longer than those that trained; how they are packed changes no result.
      compiler:
        dataset === undefined
          ? compiler
          : { ...compiler, dataset: datasetArgument(dataset), row_length: 'auto' },
    },
  }
}

/** Of rows: `in all`, or of which split. */
export const whatOf = (wanted: Wanted): string =>
  wanted === 'full' ? 'in all' : `of the ${wanted} split`
