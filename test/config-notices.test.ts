/** What is accepted with a notice, and what lenient reading drops. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as E from 'fp-ts/lib/Either.js'

import { base, edited, noticesOf, parse } from './config-base.ts'

test('lenient drops what Ludwig drops and says so, and refuses what Ludwig would do', () => {
  const typo = edited('  epochs: 3', '  epochz: 3')
  assert.deepEqual(
    noticesOf(typo, true)[0],
    "30 trainer.epochs: epochs is Ludwig's default 100; 3 is usual for fine-tuning",
  )
  assert.deepEqual(
    noticesOf(typo, true)[1],
    '33 trainer.epochz: unknown key `epochz` is ignored, as in Ludwig; did you mean `epochs`?',
  )
  assert.equal(E.isLeft(parse(edited('  r: 16', '  layer_replication: [[0, 1]]'), true)), true)
})

test('nothing is noted about a config that says what it means', () => {
  assert.deepEqual(noticesOf(base), [])
})

const noted: ReadonlyArray<readonly [from: string, to: string, said: string]> = [
  [
    '  learning_rate: 0.0003\n',
    '',
    "30 trainer.learning_rate: learning_rate is Ludwig's default 0.001, which is high for most models",
  ],
  [
    '  epochs: 3\n',
    '',
    "30 trainer.epochs: epochs is Ludwig's default 100; 3 is usual for fine-tuning",
  ],
  [
    '  epochs: 3',
    '  epochs: 3\n  train_steps: 9',
    '34 trainer.train_steps: train_steps 9 wins over epochs 3, as in Ludwig',
  ],
  [
    '    t_0: 100\n',
    '',
    '40 trainer.learning_rate_scheduler.decay: cosine decay restarts at every evaluation, as in Ludwig; set t_0 to the number of steps for one half-cosine',
  ],
  [
    'decay: cosine',
    'decay: linear',
    '42 trainer.learning_rate_scheduler.t_0: `trainer.learning_rate_scheduler.t_0` has no effect: the decay is not cosine',
  ],
  [
    '0.0003',
    '"3e-4"',
    '32 trainer.learning_rate: `trainer.learning_rate` is the text "3e-4"; read as 0.0003',
  ],
  ['models/tiny', 'llama-2-7b', '2 base_model: the preset llama-2-7b is meta-llama/Llama-2-7b-hf'],
  [
    'generation:',
    'backend: ray\ngeneration:',
    '26 backend: the backend ray is not used: tunec runs locally',
  ],
  [
    'generation:',
    'backend: {cache_dir: x}\ngeneration:',
    '26 backend.cache_dir: `backend.cache_dir` has no effect: tunec runs locally',
  ],
  [
    'generation:',
    'ludwig_version: 0.10.4\ngeneration:',
    '26 ludwig_version: `ludwig_version` is ignored',
  ],
  [
    '  epochs: 3',
    '  epochs: 3\n  effective_batch_size: 32',
    '34 trainer.effective_batch_size: batch_size 2 and gradient_accumulation_steps 8 win over effective_batch_size 32, as in Ludwig: a step takes 16 samples',
  ],
  [
    '  epochs: 3',
    '  epochs: 3\n  gradient_clipping:',
    '34 trainer.gradient_clipping: `gradient_clipping: null` still clips at 0.5, as in Ludwig; write `{clipglobalnorm: null}`',
  ],
  [
    '  epochs: 3',
    '  epochs: 3\n  max_batch_size: 64',
    '34 trainer.max_batch_size: `trainer.max_batch_size` has no effect: batch_size is not auto',
  ],
  [
    '  epochs: 3',
    '  epochs: 3\n  eval_batch_size: 64',
    '34 trainer.eval_batch_size: `trainer.eval_batch_size` has no effect: eval_steps is null, so every row is looked at',
  ],
  [
    '  epochs: 3',
    '  epochs: 3\n  eval_steps: 5\n  eval_batch_size: 2',
    '35 trainer.eval_batch_size: `trainer.eval_batch_size` has no effect: batch_size is as large, and an evaluation takes no smaller batches',
  ],
  [
    '  max_new_tokens: 64',
    '  top_k: 1\n  top_p: 0.9',
    '28 generation.top_p: `generation.top_p` has no effect: top_k is 1, so there is one candidate',
  ],
  [
    '  - name: instruction',
    '  - name: prompt',
    "4 input_features[0].name: the input's `name` steers nothing: the template names the columns it shows, and `prompt` is none of them",
  ],
  [
    '    type: text\noutput',
    '    type: text\n    column: prompt\noutput',
    "4 input_features[0].name: the input's name `instruction` is a name alone: the column `prompt` is what is read\n6 input_features[0].column: the input's `column` steers nothing: the template names the columns it shows, and `prompt` is none of them",
  ],
  [
    '  epochs: 3',
    '  epochs: 3\n  skip_all_evaluation: true\n  validation_metric: loss',
    '35 trainer.validation_metric: `trainer.validation_metric` has no effect: skip_all_evaluation is true',
  ],
  [
    '  r: 16',
    '  postprocessor: {merge_adapter_into_base_model: true}',
    '22 adapter.postprocessor.merge_adapter_into_base_model: the adapter is merged into the 16-bit base, not into the 4-bit weights (Ludwig refuses this)',
  ],
  [
    '  memory_budget: 16GB',
    '  memory_budget: 16GB\n  dataset: a.jsonl\n  na_as_text: true',
    '31 compiler.na_as_text: `compiler.na_as_text` has no effect: JSON has a null of its own, and "NA" is text there',
  ],
  [
    '    type: random\n    probabilities: [0.8, 0.1, 0.1]',
    '    {}\n  split_probabilities: [0.8, 0.1, 0.1]',
    '18 preprocessing.split_probabilities: `split_probabilities` is read as `split.probabilities`',
  ],
]

for (const [from, to, said] of noted)
  test(`noted: ${said}`, () => assert.deepEqual(noticesOf(edited(from, to)), said.split('\n')))
