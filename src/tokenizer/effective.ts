/** The tokenizer.json that counts: what transformers 5 makes of it and of the files beside it. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import { withDeclared } from './added.ts'
import { kindOf, rebuilt } from './class.ts'
import type { TokenizerFiles } from './special.ts'

/** Left: what the files contradict one another in, to stand after "the tokenizer". */
export const effective = (files: TokenizerFiles): E.Either<string, TokenizerFiles> => {
  if (files.tokenizerConfig?.split_special_tokens === true)
    return E.left('splits special tokens like other text (`split_special_tokens`)')
  const kind = kindOf(files)
  return pipe(
    withDeclared(files.tokenizer, files.tokenizerConfig),
    E.map((json) => ({ ...files, tokenizer: json })),
    E.map((f) => (kind === null ? f : { ...f, tokenizer: rebuilt(kind, f).json })),
  )
}
