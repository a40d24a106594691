/** What becomes of the tokens of a text: its last one's vector, their mean, or each for itself. */
export const pools = ['last', 'mean', 'none'] as const
export type Pool = (typeof pools)[number]
