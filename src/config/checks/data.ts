/** Checks of the features and of `preprocessing`. */
import { problem, when, type Check } from './check.ts'

const names: Check = {
  reads: ['input_features', 'output_features'],
  find: ({ input_features: [input], output_features: outputs }) =>
    outputs.flatMap((output, i) =>
      when(input.name === output.name, () =>
        problem(
          `output_features[${i}].name`,
          `the input and the output feature are both named ${JSON.stringify(output.name)}`,
          'the output is what the model learns: name the column that holds it',
        ),
      ),
    ),
}

const shares: Check = {
  reads: ['preprocessing.split', 'trainer.type'],
  find: ({ preprocessing: { split }, trainer }) => {
    if (split.type === 'fixed') return []
    const sum = split.probabilities.reduce((a, b) => a + b)
    const path = 'preprocessing.split.probabilities'
    return [
      ...when(Math.abs(sum - 1) > 1e-6, () =>
        problem(path, `the split probabilities add up to ${Number(sum.toPrecision(6))}, not to 1`),
      ),
      ...when(split.probabilities[0] === 0 && trainer.type !== 'none', () =>
        problem(
          path,
          'the training split is empty',
          'write `probabilities: [0.7, 0.1, 0.2]`, of which the first is that of training',
        ),
      ),
    ]
  },
}

const splitKeys: Check = {
  reads: ['preprocessing.split'],
  find: ({ preprocessing: { split } }, given) => [
    ...when(split.type === 'random' && given('preprocessing.split.column'), () =>
      problem(
        'preprocessing.split.column',
        'a split column is used only with `type: fixed` and `type: stratify`',
        'leave it out: a random split looks at no column',
      ),
    ),
    ...when(split.type === 'fixed' && given('preprocessing.split.probabilities'), () =>
      problem(
        'preprocessing.split.probabilities',
        'probabilities are used only with `type: random` and `type: stratify`',
        'leave them out: the column says which split a row is in',
      ),
    ),
  ],
}

const sample: Check = {
  reads: ['preprocessing.sample_ratio', 'preprocessing.sample_size'],
  find: ({ preprocessing }) =>
    when(preprocessing.sample_size !== null && preprocessing.sample_ratio < 1, () =>
      problem(
        'preprocessing.sample_size',
        'sample_size and sample_ratio both say how many rows are used',
        'keep one of them',
      ),
    ),
}

export const dataChecks: ReadonlyArray<Check> = [names, shares, splitKeys, sample]
