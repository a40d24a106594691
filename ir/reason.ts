/** Why a program, a pass or a text was refused. */

export type Reason =
  | { readonly _tag: 'IllTyped'; readonly at: string; readonly why: string }
  | {
      readonly _tag: 'NoMatch'
      readonly target: string
      readonly known: ReadonlyArray<string>
      /** The setting that names the target, where a pass has several. */
      readonly of?: string
    }
  | { readonly _tag: 'Unsupported'; readonly why: string }
  | { readonly _tag: 'Broken'; readonly promise: string }
  | { readonly _tag: 'Syntax'; readonly line: number; readonly why: string }

export const illTyped = (at: string, why: string): Reason => ({ _tag: 'IllTyped', at, why })
export const unsupported = (why: string): Reason => ({ _tag: 'Unsupported', why })
export const broken = (promise: string): Reason => ({ _tag: 'Broken', promise })

export const showReason = (r: Reason): string => {
  switch (r._tag) {
    case 'IllTyped':
      return `${r.at}: ${r.why}`
    case 'NoMatch':
      return `${r.target} matches nothing; there are ${r.known.join(', ') || 'no candidates'}`
    case 'Unsupported':
      return r.why
    case 'Broken':
      return `broken promise: ${r.promise}`
    case 'Syntax':
      return `line ${r.line}: ${r.why}`
  }
}
