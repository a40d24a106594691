/** Checks of `prompt.template`: its syntax, its placeholders, what they may name. */
import * as E from 'fp-ts/lib/Either.js'

import type { Problem } from '../problem.ts'
import type { Config } from '../schema/config.ts'
import { columnName, parseTemplate, type TemplatePart } from '../template.ts'
import { problem, when, type Check } from './check.ts'

const path = 'prompt.template'

type Field = Extract<TemplatePart, { readonly field: string }>

const special = (
  fields: ReadonlyArray<Field>,
  { task, retrieval }: Config['prompt'],
): ReadonlyArray<Problem> => {
  const names = fields.map((f) => f.field)
  const looks = names.includes('__context__')
  return [
    ...when(task !== null && !names.includes('__task__'), () =>
      problem(path, 'the template does not use `prompt.task`', 'put `{__task__}` where it belongs'),
    ),
    ...when(task === null && names.includes('__task__'), () =>
      problem(path, 'the template names `{__task__}`, but `prompt.task` is not given'),
    ),
    ...when(retrieval.type !== null && !looks, () =>
      problem(
        path,
        'the template does not show the rows that `prompt.retrieval` finds',
        'put `{__context__}` where they belong, or remove `retrieval`',
      ),
    ),
    ...when(retrieval.type === null && looks, () =>
      problem(
        path,
        'the template names `{__context__}`, but no rows are retrieved',
        'add `retrieval: {type: random, k: 3}` to `prompt`, or remove it',
      ),
    ),
  ]
}

const inFields = (
  fields: ReadonlyArray<Field>,
  { prompt, output_features: [output] }: Config,
): ReadonlyArray<Problem> => {
  const target = fields.find((f) => columnName(f.field) === output.column)
  const formatted = fields.find((f) => f.spec !== '' && !f.spec.includes('f'))
  return [
    ...when(fields.length === 0, () =>
      problem(
        path,
        'the template has no placeholder: every prompt would be the same',
        'name a column in braces, as in `{instruction}`',
      ),
    ),
    ...when(target !== undefined, () =>
      problem(
        path,
        `the template shows the answer: \`{${output.column}}\` is the output's column`,
        'remove it: the output follows the prompt by itself',
      ),
    ),
    ...when(formatted !== undefined, () =>
      problem(
        path,
        `the format of \`{${formatted?.field}:${formatted?.spec}}\` is not supported`,
        'use a fixed-point format such as `{price:.2f}`; double the braces that are meant as text' +
          (/^\s/.test(formatted?.spec ?? '') && /^\p{L}/u.test(formatted?.field ?? '')
            ? `; a column of this name is written \`{${columnName(`${formatted?.field}:${formatted?.spec}`)}}\``
            : ''),
      ),
    ),
    ...special(fields, prompt),
  ]
}

const template: Check = {
  reads: ['prompt', 'output_features'],
  find: (config) => {
    if (config.prompt.template === null) return []
    const parsed = parseTemplate(config.prompt.template)
    return E.isLeft(parsed)
      ? [problem(path, `the template does not parse: ${parsed.left}`)]
      : inFields(
          parsed.right.filter((part): part is Field => 'field' in part),
          config,
        )
  },
}

const retrieval: Check = {
  reads: ['prompt'],
  find: ({ prompt: { template: own, task, retrieval: r } }, given) => [
    ...when(r.type === null && r.k > 0, () =>
      problem(
        'prompt.retrieval.k',
        'k rows are to be shown, but not which',
        'add `type: random` or `type: semantic` beside it',
      ),
    ),
    ...when(r.type !== 'semantic' && given('prompt.retrieval.model_name'), () =>
      problem(
        'prompt.retrieval.model_name',
        'a model is asked for embeddings only with `type: semantic`',
        'leave it out, or write `type: semantic`',
      ),
    ),
    ...when(r.type !== null && own === null && task === null, () =>
      problem(
        'prompt.retrieval',
        'there is no prompt to show the rows in',
        'add `task`, for the built-in template, or a `template` with `{__context__}`',
      ),
    ),
  ],
}

export const promptChecks: ReadonlyArray<Check> = [template, retrieval]
