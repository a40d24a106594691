/** Labels in answers: which is found, which counts, what a file may say. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as E from 'fp-ts/lib/Either.js'
import { parseConfig } from '../src/config/index.ts'
import { extracted } from '../src/config/outputs.ts'
import { classesOf, labelIn, labelled } from '../src/predict/labels.ts'
import type { Predicted } from '../src/predict/predict.ts'
import { right } from './right.ts'

const yaml = (feature: string, more = ''): string => `model_type: llm
base_model: m
input_features: [{name: text, type: text}]
output_features: [{name: mood, type: category${feature}}]
${more}`

const outputOf = (feature: string) =>
  extracted(right(parseConfig(yaml(feature), { file: 'job.yaml' })).config)!

const match = `, preprocessing: {fallback_label: neutral}, decoder: {type: category_extractor, match: {
  bad: {type: contains, value: Not Good}, good: {type: contains, value: good}, odd: {type: regex, value: "^str.nge$"}}}`

test('the first label whose words the answer holds, whatever their case; else the fallback', () => {
  const f = outputOf(match)
  const cases = [
    ['It is GOOD.', 'good'],
    ['not good', 'bad'],
    ['strange', 'odd'],
    ['strange things', 'neutral'],
    ['', 'neutral'],
  ] as const
  for (const [text, label] of cases) assert.equal(labelIn(f, [], text), label, text)
  // The decoder's own fallback wins; without `match` a label is its own words.
  assert.equal(labelIn(outputOf(', decoder: {fallback_label: none}'), ['up', 'down'], 'x'), 'none')
  assert.equal(labelIn(outputOf(''), ['up', 'down'], 'Down.'), 'down')
})

test('labels are those of the data by how often they stand there, then those that are named', () => {
  const texts = ['good', 'bad', ' bad ', null].map((target) => ({ target }))
  assert.deepEqual(classesOf(outputOf(match), texts), ['bad', 'good', 'odd', 'neutral'])
  assert.deepEqual(classesOf(outputOf(', preprocessing: {vocab: [z, bad]}'), texts), [
    'bad',
    'good',
    'z',
  ])
})

test('rows without a label are answered and not counted', () => {
  const answers = ['good', 'not good', 'good', 'what?']
  const rows = answers.map((text, row) => ({ row, answer: { text } }))
  const texts = ['good', 'good', null, 'neutral'].map((target, row) => ({
    row,
    prompt: '',
    target,
  }))
  const of = labelled(outputOf(match), texts, { rows, metrics: {} } as unknown as Predicted)
  assert.deepEqual(of.labels, ['good', 'bad', 'good', 'neutral'])
  assert.equal(of.metrics['accuracy_micro'], 2 / 3)
  assert.equal(of.metrics['accuracy'], (1 / 2 + 1) / 2)
  assert.deepEqual(of.classes, ['good', 'neutral', 'bad', 'odd'])
  assert.deepEqual(of.matrix![0], [1, 0, 1, 0])
})

test('what a file may say of a label in an answer', () => {
  const said = (text: string): string => {
    const parsed = parseConfig(text, { file: 'job.yaml' })
    return E.isLeft(parsed) ? parsed.left.map((i) => i.message).join('; ') : 'accepted'
  }
  assert.equal(said(yaml(match)), 'accepted')
  assert.match(said(yaml(match, 'trainer: {type: finetune}')), /where nothing is trained/)
  assert.match(
    said(yaml(', decoder: {match: {a: {type: regex, value: "("}}}')),
    /"\(" is no regular expression/,
  )
  assert.match(said(yaml(', decoder: {match: {a: {type: is, value: x}}}')), /decoder.match/)
  assert.match(said(yaml(', decoder: {type: classifier}')), /predicted by a head/)
})
