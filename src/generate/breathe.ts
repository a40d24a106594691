/** Lets signals and timers have their turn: a backend may compute without ever waiting. */
export const breathe = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
