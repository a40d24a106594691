/** GPUs to lower for where none is at hand: one well-known card of each architecture. */
import { capabilityOf, type Arch } from '../driver/arch.ts'
import type { Target } from './context.ts'

export interface Card {
  readonly name: string
  readonly target: Target
}

const KB = 1024

const card = (name: string, arch: number, sms: number, shared: number): Card => ({
  name,
  target: { arch, sms, shared: shared * KB },
})

/** Shared memory is what a block may have at most, static and dynamic together. */
export const cards: ReadonlyArray<Card> = [
  card('Tesla T4', 75, 40, 64),
  card('A100', 80, 108, 163),
  card('GeForce RTX 3090', 86, 82, 99),
  card('GeForce RTX 4090', 89, 128, 99),
  card('H100', 90, 132, 227),
  card('B200', 100, 148, 227),
  card('GeForce RTX 5090', 120, 170, 99),
]

/** What is planned for where nothing else is said. */
export const assumed: Card = cards.find((c) => c.target.arch === 90)!

/** The card that stands for an architecture: of `sm_90a` the H100. */
export const cardOf = (arch: Arch): Card | undefined =>
  cards.find((c) => c.target.arch === capabilityOf(arch))
