/** Preferences counted over samples: what metrics are read off. */
import type { Sample } from '../data/samples.ts'
import type { Preference } from './preference.ts'
import { lossOf, marginOf, rewardsOf, weightOf, type Nlls } from './score.ts'

interface Kind {
  readonly count: number
  readonly rewards: number
}

export interface Tally {
  readonly samples: number
  readonly loss: number
  /** Good answers that stand above the bad one, or answers on their side of the divergence. */
  readonly right: number
  readonly good: Kind
  readonly bad: Kind
}

const nobody: Kind = { count: 0, rewards: 0 }
export const nothing: Tally = { samples: 0, loss: 0, right: 0, good: nobody, bad: nobody }

const withReward = (k: Kind, reward: number): Kind => ({
  count: k.count + 1,
  rewards: k.rewards + reward,
})

/** Another sample, whose sequences came to `nlls`. */
export const tallied = (
  t: Tally,
  p: Preference,
  s: Sample,
  nlls: Nlls,
  reference: Nlls,
  kl: number,
): Tally => {
  const margin = marginOf(p.loss, s, nlls, reference, kl)
  const [first, second] = rewardsOf(p.loss, s, nlls, reference)
  const right = second === undefined ? margin > 0 : first! > second
  return {
    samples: t.samples + 1,
    loss: t.loss + weightOf(p, s) * lossOf(p.loss, margin),
    right: t.right + (right ? 1 : 0),
    good: s.desirable === false ? t.good : withReward(t.good, first!),
    bad:
      second !== undefined
        ? withReward(t.bad, second)
        : s.desirable === false
          ? withReward(t.bad, first!)
          : t.bad,
  }
}

const mean = ({ rewards, count }: Kind): number => rewards / count

/** TRL's rewards; a kind without answers has none, and there is no margin then. */
export const rewardMetrics = ({ samples, right, good, bad }: Tally): Record<string, number> => ({
  reward_accuracy: right / samples,
  ...(good.count > 0 && bad.count > 0 ? { reward_margin: mean(good) - mean(bad) } : {}),
  ...(good.count > 0 ? { reward_chosen: mean(good) } : {}),
  ...(bad.count > 0 ? { reward_rejected: mean(bad) } : {}),
})
