/** Ludwig's option names, command by command, and what each means here. */

export interface Rule {
  /** As Ludwig writes it: `--model_path`, `-m`. */
  readonly names: ReadonlyArray<string>
  readonly does:
    | { readonly _tag: 'is'; readonly option: string }
    /** The command's argument, which has no name here. */
    | { readonly _tag: 'argument' }
    /** It changes nothing here, and is said to. */
    | { readonly _tag: 'idle'; readonly why: string }
    | { readonly _tag: 'refused'; readonly hint: string }
  /** Values behind it: none, one, or all up to the next option, which are joined by commas. */
  readonly takes: 'none' | 'one' | 'many'
  /** Ludwig's word for a value by ours. */
  readonly words?: Readonly<Record<string, string>>
}

type Names = ReadonlyArray<string>

const is = (option: string, names: Names, more: Partial<Rule> = {}): Rule => ({
  names,
  does: { _tag: 'is', option },
  takes: 'one',
  ...more,
})
const argument = (...names: Names): Rule => ({ names, does: { _tag: 'argument' }, takes: 'one' })
const idle = (why: string, names: Names, takes: Rule['takes'] = 'none'): Rule => ({
  names,
  does: { _tag: 'idle', why },
  takes,
})
const refused = (hint: string, names: Names, takes: Rule['takes'] = 'one'): Rule => ({
  names,
  does: { _tag: 'refused', hint },
  takes,
})

/** Options that every Ludwig command has. */
const everywhere: ReadonlyArray<Rule> = [
  idle('what is worth knowing is always said', ['-l', '--logging_level'], 'one'),
  refused('CUDA_VISIBLE_DEVICES picks the GPU', ['-g', '--gpus'], 'many'),
  refused('write compiler.memory_budget into the config', ['-gml', '--gpu_memory_limit']),
  idle('results do not depend on threads', ['-dpt', '--disable_parallel_threads']),
]

/** Ludwig runs locally, or on machines that are many. */
const local: Rule = is('--backend', ['-b', '--backend'], { words: { local: 'auto' } })

const data: ReadonlyArray<Rule> = [
  idle('the format follows from the name of the file', ['--data_format'], 'one'),
  refused(
    'write the rows into one file with a column of 0, 1 and 2, and preprocessing.split: {type: fixed, column: …}',
    ['--training_set', '--validation_set', '--test_set'],
  ),
  refused('it is made anew from the data', ['--training_set_metadata']),
]

const whole = 'a run keeps all that resuming and checking it need'

const training: ReadonlyArray<Rule> = [
  argument('-c', '--config'),
  refused('write it into a file, and name that', ['-cs', '--config_str']),
  is('--output-directory', ['-od']),
  is('--resume', ['-mrp', '--model_resume_path']),
  refused('write adapter.pretrained_adapter_weights into the config', ['-mlp', '--model_load_path']),
  is('--random-seed', ['-rs']),
  idle('no preprocessed data is written', ['-sspi', '--skip_save_processed_input']),
  idle(whole, ['-sstd', '--skip_save_training_description']),
  idle(whole, ['-ssts', '--skip_save_training_statistics']),
  refused(whole, ['-ssm', '--skip_save_model'], 'none'),
  idle(whole, ['-ssp', '--skip_save_progress']),
  idle('no TensorBoard log is written', ['-ssl', '--skip_save_log']),
  refused('training_statistics.json and model/training_progress.json can be sent there', [
    '--wandb', '--mlflow', '--comet', '--aim',
  ], 'none'),
  ...data,
] // prettier-ignore

/** `training` is `train` here. */
const words = { training: 'train' } as const

const asking: ReadonlyArray<Rule> = [
  argument('-m', '--model_path'),
  is('--split', ['-s', '--split'], { words }),
  idle('the size of a batch changes no answer, and is chosen', ['-bs', '--batch_size'], 'one'),
  refused('write `generation` into the config, and name that or train with it', [
    '-gc', '--generation_config',
  ]),
  ...data,
] // prettier-ignore

const kept = 'files are written whole'

const predicting: ReadonlyArray<Rule> = [
  is('--output', ['-od', '--output_directory']),
  idle(kept, ['-ssuo', '--skip_save_unprocessed_output']),
  idle(kept, ['-sstp', '--skip_save_predictions']),
  ...asking,
]

const rules: Readonly<Record<string, ReadonlyArray<Rule>>> = {
  train: [...training, local],
  experiment: [
    is('--eval-split', ['-es', '--eval_split'], { words }),
    refused('write a loop over files, each with its own split column', ['-kf', '--k_fold']),
    idle(kept, ['-skfsi', '--skip_save_k_fold_split_indices']),
    idle(kept, ['-sstp', '--skip_save_predictions']),
    idle(kept, ['-sstes', '--skip_save_eval_stats']),
    idle(kept, ['-ssuo', '--skip_save_unprocessed_output']),
    ...training,
    local,
  ],
  predict: [...predicting, local],
  evaluate: [
    refused('`tunec predict` writes answers and metrics', ['-od', '--output_directory']),
    idle('nothing is written', ['-sses', '--skip_save_eval_stats']),
    idle('nothing is written', ['-scp', '--skip_collect_predictions']),
    idle('nothing is written', ['-scos', '--skip_collect_overall_stats']),
    idle('nothing is written', ['-ssuo', '--skip_save_unprocessed_output']),
    idle('nothing is written', ['-sstp', '--skip_save_predictions']),
    ...asking,
    local,
  ],
  'collect-activations': [
    is('--layers', ['-lyr', '--layers'], { takes: 'many' }),
    is('--output', ['-od', '--output_directory']),
    ...asking,
    local,
  ],
  serve: [
    argument('-m', '--model_path'),
    is('--allowed-origins', ['-ao', '--allowed_origins'], { takes: 'many' }),
    is('--prediction-timeout', ['-t']),
  ],
  upload: [
    is('--repo', ['--repo_id']),
    argument('-m', '--model_path'),
    is('--repo-type', ['-t']),
    refused('upload a run', ['-df', '--dataset_file', '-dn', '--dataset_name']),
  ],
  'render-config': [argument('-c', '--config')],
  'init-config': [
    argument('-d', '--dataset'),
    is('--targets', ['-t', '--targets'], { takes: 'many' }),
    refused('there is no search', ['--hyperopt', '--time_limit_s', '--suggested'], 'none'),
  ],
}

/** The rules of a command of ours. */
export const rulesOf = (command: string): ReadonlyArray<Rule> =>
  rules[command] === undefined ? [] : [...rules[command], ...everywhere]
