/** Loads TensorFlow in a process of its own and says what came of it, as JSON. Arguments: a folder with a driver or "none"; "first" to load the package before. */
import { createRequire } from 'node:module'
import path from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import { load } from '../backends/tfjs/load.ts'
import { find, whereOf } from '../backends/tfjs/places.ts'
import type { Tf } from '../backends/tfjs/tf.ts'

const [driver, first] = process.argv.slice(2)
const where = whereOf(process.env, process.cwd())
const found = find(where)
const own =
  first === 'first' && 'home' in found
    ? (createRequire(path.join(found.home.folder, 'package.json'))(found.home.folder) as Tf)
    : null
const host = load(where, {
  override: driver === 'none' ? undefined : driver,
  cwd: '/nowhere',
  here: '/nowhere',
  root: '/nowhere',
  loader: false,
})
const said = E.isLeft(host)
  ? host.left
  : {
      gpu: host.right.backend.isUsingGpuDevice,
      plugin: host.right.plugin !== null,
      shared: own === null ? null : own.engine() === host.right.engine,
      sum: [
        ...host.right.backend.binding.tensorDataSync(
          host.right.backend.binding.executeOp(
            'AddV2',
            [],
            [1, 2].map((x) => host.right.backend.binding.createTensor([1], 1, Float32Array.of(x))),
            1,
          )[0]!.id,
        ),
      ],
    }
process.stdout.write(JSON.stringify(said))
