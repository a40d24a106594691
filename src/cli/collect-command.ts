/** `collect-activations` with its options; Ludwig writes it `collect_activations`. */
import { pools } from '../activations/pools.ts'
import type { Command } from './command.ts'
import { backend, dataset, EXAMPLE, lenient } from './options.ts'

export const collect: Command = {
  name: 'collect-activations',
  argument: ['results', 'a results folder, or a config for its base model'],
  doc: "write values of the model's inside for every text of a file, as embeddings or for a look inside",
  options: [
    dataset,
    {
      flags: '--split <name>',
      doc: 'which rows (default: test, or with --dataset full)',
      choices: ['train', 'validation', 'test', 'full'],
    },
    {
      flags: '--layers <names>',
      doc: 'what to collect, with commas between: hidden_states.1, layers.*.mlp, head',
    },
    { flags: '--list', doc: 'show every name that there is, with its width' },
    {
      flags: '--pool <how>',
      doc: "a text's last token, the mean of its tokens, or all of them",
      choices: [...pools],
      initial: 'last',
    },
    {
      flags: '-o, --output <file>',
      doc: '.safetensors, .parquet, .npy for one value, or a folder of .npy files',
      initial: 'activations.safetensors',
    },
    backend,
    lenient,
  ],
  examples: [
    `collect-activations ${EXAMPLE} --layers head --pool mean -o embeddings.npy`,
    'collect-activations results/experiment_run --dataset rows.csv --layers hidden_states.2,layers.*.mlp',
    `collect-activations ${EXAMPLE} --list`,
  ],
  load: async () => (await import('./collect.ts')).run,
}
