/** Every subcommand with its options and an example. */
import { parseBytes } from '../config/bytes.ts'
import { rowLength, rows } from '../config/bounds.ts'
import { collect } from './collect-command.ts'
import type { Command } from './command.ts'
import { ludwigCommands } from './commands-ludwig.ts'
import {
  backend,
  config,
  dataset,
  EXAMPLE,
  format,
  LARGE,
  lenient,
  modelName,
  port,
  randomSeed,
  upTo,
  whole,
} from './options.ts'

const train: Command = {
  name: 'train',
  argument: ['config', 'a YAML file, or a plan that compile wrote'],
  doc: 'fine-tune a model',
  options: [
    dataset,
    { flags: '--output-directory <folder>', doc: 'where results go', initial: 'results' },
    { flags: '--experiment-name <name>', doc: 'first part of their name', initial: 'experiment' },
    modelName,
    randomSeed,
    { flags: '--resume <folder>', doc: 'continue the run whose results lie there' },
    { flags: '--ladder', doc: 'show the memory ladder first' },
    {
      flags: '--show <count>',
      doc: 'answer held-out prompts before and after, and show so many',
      ...whole,
    },
    backend,
    lenient,
  ],
  examples: [
    `train ${EXAMPLE}`,
    'train plan.json',
    `train ${EXAMPLE} --resume results/experiment_run`,
  ],
  load: async () => (await import('./train.ts')).run,
}

const evaluate: Command = {
  name: 'evaluate',
  argument: ['results', 'a results folder, or a config for its base model'],
  doc: 'measure loss and accuracy on held-out rows',
  options: [
    dataset,
    {
      flags: '--split <name>',
      doc: 'which rows (default: test, or with --dataset full)',
      choices: ['train', 'validation', 'test', 'full'],
    },
    backend,
    { flags: '--generate', doc: 'also answer every prompt and count exact matches' },
    { flags: '--json', doc: 'print JSON' },
    lenient,
  ],
  examples: ['evaluate results/experiment_run', `evaluate ${EXAMPLE} --split validation`],
  load: async () => (await import('./evaluate.ts')).run,
}

const predict: Command = {
  name: 'predict',
  argument: ['results', 'a results folder, or a config for its base model'],
  doc: 'answer every row of a file; write answers, probabilities and metrics',
  options: [
    dataset,
    {
      flags: '--split <name>',
      doc: 'which rows (default: test, or with --dataset full)',
      choices: ['train', 'validation', 'test', 'full'],
    },
    { flags: '-o, --output <folder>', doc: 'where the files go', initial: 'predictions' },
    format,
    { flags: '--max-new-tokens <count>', doc: 'longest answer', ...whole },
    { flags: '--compare', doc: 'also ask the base model as it was, and show both' },
    backend,
    { flags: '--json', doc: 'print the metrics as JSON' },
    lenient,
  ],
  examples: [
    'predict results/experiment_run --dataset questions.csv -o predictions',
    'predict results/experiment_run --compare',
    `predict ${EXAMPLE} --split validation --format csv`,
  ],
  load: async () => (await import('./predict.ts')).run,
}

const generate: Command = {
  name: 'generate',
  argument: ['results', 'a results folder, or a config for its base model'],
  doc: 'answer prompts with a fine-tuned model',
  options: [
    { flags: '--prompt <text>', doc: 'one prompt, taken as it stands' },
    {
      flags: '--prompt-file <file>',
      doc: 'a file that is one prompt, without its last line break; - is standard input',
    },
    { flags: '--dataset <file>', doc: 'prompts made of rows by the template of the config' },
    { flags: '--max-new-tokens <count>', doc: 'longest answer', ...whole },
    { flags: '--adapters <folders>', doc: 'answer with these adapters too, on the same base' },
    { flags: '--output <file>', doc: 'write answers as JSONL instead of showing them' },
    backend,
    lenient,
  ],
  examples: [
    `generate results/experiment_run --prompt 'def add('`,
    'generate results/experiment_run --dataset questions.csv --output answers.jsonl',
  ],
  load: async () => (await import('./generate.ts')).run,
}

const serve: Command = {
  name: 'serve',
  argument: ['results', 'a results folder, or a config for its base model'],
  doc: "answer HTTP requests: OpenAI's /v1/chat/completions and /v1/completions, Ludwig's /predict",
  options: [
    { flags: '-p, --port <number>', doc: 'port (default: 8000)', ...port },
    {
      flags: '-H, --host <address>',
      doc: 'address to listen on; of other machines TUNEC_API_KEY is asked',
      initial: '127.0.0.1',
    },
    { flags: '--name <id>', doc: 'what requests call the model (default: the name of the folder)' },
    {
      flags: '--slots <count>',
      doc: 'sequences answered side by side (default: 8)',
      ...upTo(rows),
    },
    {
      flags: '--context <tokens>',
      doc: "prompt and answer together (default: the model's, at most 2048)",
      ...upTo(rowLength),
    },
    { flags: '--queue <count>', doc: 'answers that may wait for a slot (default: 256)', ...whole },
    {
      flags: '--max-body <size>',
      doc: 'longest body of a request (default: 4MB)',
      read: parseBytes,
      expected: 'a size such as 4MB',
    },
    {
      flags: '--prediction-timeout <seconds>',
      doc: 'give up a request after so long (default: never)',
      ...whole,
    },
    {
      flags: '--allowed-origins <list>',
      doc: 'pages that browsers may ask from, separated by commas; * is all',
    },
    backend,
    lenient,
  ],
  examples: ['serve results/experiment_run', 'serve results/experiment_run --port 8080 --slots 16'],
  load: async () => (await import('./serve.ts')).run,
}

const compile: Command = {
  name: 'compile',
  argument: config,
  doc: 'turn a config into a plan, and look at every step of the way',
  options: [
    { flags: '-o, --output <file>', doc: 'write the plan, for train' },
    { flags: '--dump-ir <folder>', doc: 'write the program after every pass' },
    { flags: '--emit <folder>', doc: 'write the ONNX model of every function' },
    {
      flags: '--dump-kernels <folder>',
      doc: 'write the launch list of every function and the CUDA sources of its kernels',
    },
    { flags: '--arch <name>', doc: 'what --dump-kernels compiles for: sm_75 … sm_120' },
    { flags: '--diff <pass>', doc: 'show what a pass changed' },
    { flags: '--stop-after <pass>', doc: 'print the program as it is after a pass' },
    dataset,
    lenient,
  ],
  examples: [
    `compile ${EXAMPLE} -o plan.json`,
    `compile ${EXAMPLE} --dump-ir ir`,
    `compile ${EXAMPLE} --emit models`,
    `compile ${LARGE} --dump-kernels kernels --arch sm_90`,
    `compile ${LARGE} --diff lora`,
    `compile ${EXAMPLE} --stop-after forward`,
  ],
  load: async () => (await import('./compile.ts')).run,
}

const memory: Command = {
  name: 'memory',
  argument: config,
  doc: 'show what each technique saves; needs no weights',
  options: [
    {
      flags: '--budget <size>',
      doc: 'fail when the plan needs more, and say what would make it fit',
      read: parseBytes,
      expected: 'an amount of memory such as 16GB or 11.5GiB',
    },
    { flags: '--sequence-length <tokens>', doc: 'tokens of a row', ...upTo(rowLength) },
    { flags: '--batch <rows>', doc: 'rows of a micro-batch', ...upTo(rows) },
    { flags: '--json', doc: 'print exact bytes as JSON' },
    { flags: '--svg <file>', doc: 'draw the ladder' },
    dataset,
    lenient,
  ],
  examples: [
    `memory ${LARGE}`,
    `memory ${LARGE} --sequence-length 2048 --batch 1 --budget 16GB`,
    `memory ${LARGE} --svg ladder.svg`,
  ],
  load: async () => (await import('./memory.ts')).run,
}

const check: Command = {
  name: 'check',
  argument: config,
  doc: 'read config and data, report on both, run nothing',
  options: [dataset, lenient],
  examples: [`check ${EXAMPLE}`],
  load: async () => (await import('./check.ts')).run,
}

const profile: Command = {
  name: 'profile',
  argument: ['config', 'a YAML file, or a plan that compile wrote'],
  doc: 'run some steps on the GPU and show where their time and memory go',
  options: [
    { flags: '--steps <count>', doc: 'optimizer steps that are timed (default: 5)', ...whole },
    { flags: '--json', doc: 'print JSON' },
    dataset,
    lenient,
  ],
  examples: [`profile ${EXAMPLE}`, `profile ${LARGE} --steps 10 --json`],
  load: async () => (await import('./profile.ts')).run,
}

const download: Command = {
  name: 'download',
  argument: ['id', 'OWNER/MODEL, or hf://datasets/OWNER/NAME/FILE.csv; @REVISION behind the name'],
  doc: "fetch a base model or a dataset into Hugging Face's cache, or a newer one",
  options: [],
  examples: [
    'download meta-llama/Llama-2-7b-hf',
    'download hf://datasets/yahma/alpaca-cleaned/alpaca_data_cleaned.json',
  ],
  load: async () => (await import('./download.ts')).run,
}

const upload: Command = {
  name: 'upload',
  argument: ['results', 'a results folder'],
  doc: 'put a run on the Hugging Face hub, with a card that tells data, config, metrics and plan',
  options: [
    { flags: '-r, --repo <id>', doc: 'OWNER/NAME on the hub; made where it is not there' },
    { flags: '-p, --private', doc: 'make it private' },
    { flags: '--repo-type <type>', doc: 'what it is', choices: ['model'], initial: 'model' },
    { flags: '--base-model <id>', doc: 'the hub id of a base model that is a folder here' },
    { flags: '-c, --commit-message <text>', doc: 'title of the commit' },
    { flags: '-d, --commit-description <text>', doc: 'what else the commit says' },
  ],
  examples: ['upload results/experiment_run --repo me/my-adapter --private'],
  load: async () => (await import('./upload.ts')).run,
}

const doctor: Command = {
  name: 'doctor',
  doc: 'show which backends work here and, for each that does not, why',
  options: [],
  examples: ['doctor'],
  load: async () => (await import('./doctor.ts')).run,
}

export const commands: ReadonlyArray<Command> = [
  train,
  evaluate,
  predict,
  generate,
  serve,
  collect,
  compile,
  memory,
  check,
  profile,
  download,
  upload,
  ...ludwigCommands,
  doctor,
]
