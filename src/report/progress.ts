/** What a run tells, as lines. */
import type { Metrics } from '../train/measured.ts'
import type { TrainEvent } from '../train/events.ts'
import type { Style } from './style.ts'
import { count, duration, plural } from './units.ts'

type StepEvent = Extract<TrainEvent, { readonly _tag: 'step' }>

const BAR = 20

/** `step 40/210 ███▊ loss 1.234  5,120 tokens/s  12 s left`. */
export const stepLine = (e: StepEvent, withBar: boolean): string => {
  const done = Math.round((BAR * e.step) / Math.max(1, e.of))
  const bar = withBar ? ` ${'█'.repeat(done)}${'░'.repeat(BAR - done)}` : ''
  const margin = e.metrics['reward_margin']
  const rewards = margin === undefined ? '' : `  reward margin ${margin.toFixed(3)}`
  const skipped = e.applied ? '' : '  (overflow, not applied)'
  return `step ${e.step}/${e.of}${bar}  loss ${e.loss.toFixed(4)}${rewards}  ${count(Math.round(e.tokensPerSecond))} tokens/s  ${duration(e.secondsLeft)} left${skipped}`
}

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`

/** A metric as it is read: perplexity and loss as numbers, accuracies in percent. */
export const metricText = (name: string, value: number): string =>
  /accuracy(_micro)?$|hits_at_k$/.test(name) || name === 'exact_match'
    ? percent(value)
    : value.toFixed(4)

const lossOf = (m: Partial<Metrics>): string => (m.loss === undefined ? '–' : m.loss.toFixed(4))

/** The accuracy that says most of a split, where there is one. */
const accuracyOf = (m: Metrics): string => {
  const name = Object.keys(m).find((n) => n.endsWith('accuracy'))
  return name === undefined ? '' : `, ${name.replace('token_', 'token ')} ${percent(m[name]!)}`
}

/** One line an event; null for those a progress line shows better. */
export const eventLine = (e: TrainEvent, s: Style): string | null => {
  switch (e._tag) {
    case 'start': {
      const from = e.from === 0 ? '' : `, ${e.from} of them done already`
      return `training ${count(e.parameters)} parameters on ${plural(e.samples.train, 'sample')}: ${plural(e.steps, 'step')}${from}, ${plural(e.epochs, 'epoch')}; results in ${s.bold(e.resultsFolder)}`
    }
    case 'step':
      return null
    case 'encoding':
      return null
    case 'evaluation': {
      const v = e.validation
      const seen = v === null ? '' : `  validation ${v.loss.toFixed(4)}${accuracyOf(v)}`
      const best =
        v === null
          ? ''
          : e.improved
            ? s.green('  best so far')
            : s.dim(`  ${e.sinceBest} since the best`)
      return `step ${e.step}, epoch ${e.epoch}: loss ${lossOf(e.training)}${seen}${best}`
    }
    case 'reference':
      return e.computed
        ? `reference: ${plural(e.sequences, 'sequence')} scored by the model as it is, kept in ${e.cache}`
        : `reference: ${plural(e.sequences, 'sequence')} as kept in ${e.cache}`
    case 'checkpoint':
      return null
    case 'stopped':
      return e.why === 'asked'
        ? s.yellow(`stopped after step ${e.step}; everything is saved`)
        : `no improvement any more: stopped after step ${e.step}`
    case 'done':
      return null
  }
}
