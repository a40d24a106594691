/** The models that the ONNX backend runs, as files for any ONNX tool to look at. */
import { mkdir } from 'node:fs/promises'
import path from 'node:path'
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import { emit } from '../../backends/onnx/emit.ts'
import type { Program } from '../../ir/graph.ts'
import type { Issue } from '../issue.ts'
import { atomicWrite } from '../tensors/atomic.ts'
import { attempt } from '../tensors/os.ts'

/** Writes `<function>.onnx` for every function; gives the names. */
export const writeModels = (
  p: Program,
  folder: string,
): TE.TaskEither<Issue, ReadonlyArray<string>> =>
  pipe(
    attempt('create', folder, () => mkdir(folder, { recursive: true })),
    TE.chain(() =>
      pipe(
        p.fns,
        TE.traverseSeqArray((f) =>
          pipe(
            atomicWrite(path.join(folder, `${f.name}.onnx`), emit(p, f)),
            TE.map(() => `${f.name}.onnx`),
          ),
        ),
      ),
    ),
  )
