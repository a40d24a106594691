/** A model card: what was trained on what, how well it does, and the plan it was trained by. */
import path from 'node:path'
import { stringify } from 'yaml'
import { metricText } from '../report/progress.ts'
import { count, duration, plural, size } from '../report/units.ts'
import type { RunFacts } from './facts.ts'
import type { Published } from './reference.ts'

export interface CardOf {
  /** `owner/name`. */
  readonly id: string
  /** The base by its hub id, if it has one. */
  readonly base: Published
  readonly facts: RunFacts
  /** The text that lies beside the weights: what they are, and how an adapter is loaded; null: only heads were trained. */
  readonly text: string | null
}

const fence = (language: string, text: string): string =>
  `\`\`\`${language}\n${text.trimEnd()}\n\`\`\``

/** `owner/name` of a dataset's address. */
const datasetId = (name: string): string | undefined =>
  /^hf:\/\/(?:datasets\/)?([\w.-]+\/[\w.-]+)/.exec(name)?.[1]

const pipelineOf = ({ config, heads }: RunFacts): object => {
  if (config.model_type === 'llm') return { pipeline_tag: 'text-generation' }
  return heads.every((h) => h.kind !== 'number') ? { pipeline_tag: 'text-classification' } : {}
}

const front = ({ base, text, facts }: CardOf): string => {
  const { config, dataset } = facts
  const data = dataset === null ? undefined : datasetId(dataset.name)
  const lora = config.adapter !== null
  return stringify({
    ...(base.onHub
      ? { base_model: base.name, base_model_relation: lora ? 'adapter' : 'finetune' }
      : {}),
    ...(text === null ? {} : { library_name: lora ? 'peft' : 'transformers' }),
    ...pipelineOf(facts),
    tags: ['tunec', ...(config.adapter === null ? [] : [config.adapter.type])],
    ...(data === undefined ? {} : { datasets: [data] }),
  })
}

/** Each head by what it predicts. */
const heads = ({ facts: { heads: all } }: CardOf): ReadonlyArray<string> =>
  all.length === 0
    ? []
    : [
        '## Heads',
        '`heads/heads.safetensors` holds a matrix for each output, and a bias where it has one, over the vector of a text; `heads/heads.json` says how hidden states become that vector, and what is predicted:',
        all
          .map(
            ({ name, kind, classes }) =>
              `- \`${name}\`, a ${kind}${classes.length === 0 ? '' : `: ${classes.map((c) => `\`${c}\``).join(', ')}`}`,
          )
          .join('\n'),
      ]

/** What lies beside the weights, with the names that they have on the hub. */
const about = ({ id, base, text, facts }: CardOf): string => {
  if (text === null) return `Heads on \`${base.name}\`, which is as it was; trained with tunec.`
  const revision = base.revision === null ? '' : `, revision="${base.revision}"`
  const here = facts.baseFolder === null ? null : JSON.stringify(path.resolve(facts.baseFolder))
  const body = text.replace(/^---\n[^]*?\n---\n/, '').trim()
  const named = body.replaceAll('"."', JSON.stringify(id))
  return here === null ? named : named.replaceAll(here, `${JSON.stringify(base.name)}${revision}`)
}

const use = ({ id }: CardOf): string =>
  fence(
    'python',
    [
      'from transformers import AutoModelForCausalLM, AutoTokenizer',
      '',
      `tokenizer = AutoTokenizer.from_pretrained("${id}")`,
      `model = AutoModelForCausalLM.from_pretrained("${id}")`,
    ].join('\n'),
  )

const data = ({ facts: { dataset } }: CardOf): ReadonlyArray<string> =>
  dataset === null
    ? ['The run names no data.']
    : [
        `\`${dataset.name}\`, ${plural(dataset.rows, 'row')}${dataset.sha256 === null ? '' : `, SHA-256 \`${dataset.sha256}\``}.`,
        ...(dataset.findings.length === 0
          ? []
          : ['', 'Found in it:', '', fence('', dataset.findings.join('\n'))]),
      ]

const cell = (name: string, value: number | null): string =>
  value === null ? '' : metricText(name, value)

const metrics = ({ facts: { metrics: rows } }: CardOf): ReadonlyArray<string> =>
  rows.length === 0
    ? ['Nothing was measured.']
    : [
        '| | validation | test |',
        '|---|---|---|',
        ...rows.map(
          (r) => `| ${r.name} | ${cell(r.name, r.validation)} | ${cell(r.name, r.test)} |`,
        ),
      ]

const plan = ({ facts: { plan: p, backend } }: CardOf): ReadonlyArray<string> => [
  `Planned for ${p.device ?? 'a CPU'}, run on the backend \`${backend}\`: micro-batches of ${plural(p.rows, 'row')} of ${count(p.length)} tokens, ${count(p.equations)} equations, ${size(p.totalBytes)} of memory.`,
  '',
  fence('yaml', stringify(p.techniques)),
]

/** As README.md of the repository. */
export const modelCard = (c: CardOf): string => {
  const { id, facts } = c
  return `${[
    `---\n${front(c)}---`,
    `# ${id.split('/').at(-1)}`,
    about(c),
    ...(c.text !== null && facts.config.adapter === null ? [use(c)] : []),
    ...heads(c),
    `The base's tensors have the SHA-256 \`${facts.baseSha256}\`.`,
    '## Data',
    data(c).join('\n'),
    '## Metrics',
    `After ${plural(facts.steps, 'step')} and ${count(facts.tokens)} tokens in ${duration(facts.seconds)}; of the weights that were kept.`,
    metrics(c).join('\n'),
    '## Config',
    fence('yaml', facts.configText),
    '## Plan',
    plan(c).join('\n'),
  ].join('\n\n')}\n`
}
