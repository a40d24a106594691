/** Subcommands that Ludwig's users look for: one that trains and asks, and two about configs. */
import type { Command } from './command.ts'
import {
  backend,
  config,
  dataset,
  EXAMPLE,
  format,
  lenient,
  modelName,
  randomSeed,
} from './options.ts'

const experiment: Command = {
  name: 'experiment',
  argument: config,
  doc: 'train, then answer held-out rows and measure; ask only, where the config trains nothing',
  options: [
    dataset,
    { flags: '--output-directory <folder>', doc: 'where results go', initial: 'results' },
    { flags: '--experiment-name <name>', doc: 'first part of their name', initial: 'experiment' },
    modelName,
    randomSeed,
    { flags: '--resume <folder>', doc: 'continue the run whose results lie there' },
    {
      flags: '--eval-split <name>',
      doc: 'which rows are answered',
      choices: ['train', 'validation', 'test', 'full'],
      initial: 'test',
    },
    format,
    backend,
    lenient,
  ],
  examples: [`experiment ${EXAMPLE} --eval-split validation`],
  load: async () => (await import('./experiment.ts')).run,
}

const initConfig: Command = {
  name: 'init-config',
  argument: ['dataset', 'a CSV, JSON or JSONL file'],
  doc: 'write a config to begin with: prompts of all columns but the target',
  options: [
    { flags: '-t, --targets <column>', doc: 'the column that is answered' },
    { flags: '--base-model <name>', doc: 'a folder or hub id', initial: 'meta-llama/Llama-3.1-8B' },
    { flags: '-o, --output <file>', doc: 'where it goes; else it is shown' },
  ],
  examples: [
    'init-config examples/code-instructions/data.csv --targets output --base-model base -o job.yaml',
  ],
  load: async () => (await import('./init-config.ts')).run,
}

const renderConfig: Command = {
  name: 'render-config',
  argument: config,
  doc: 'show a config with every default written out',
  options: [{ flags: '-o, --output <file>', doc: 'write it there' }, dataset, lenient],
  examples: [`render-config ${EXAMPLE}`],
  load: async () => (await import('./render-config.ts')).run,
}

export const ludwigCommands: ReadonlyArray<Command> = [experiment, initConfig, renderConfig]
