/** The op set. A new op is one record in a sibling file; every table keyed by `OpName` then fails to compile until it has it. */
import type { Op } from '../op.ts'
import * as adapters from './adapters.ts'
import * as attention from './attention.ts'
import * as cache from './cache.ts'
import * as classes from './classes.ts'
import * as eight from './eight.ts'
import * as elementwise from './elementwise.ts'
import * as float8 from './float8.ts'
import * as int8 from './int8.ts'
import * as linalg from './linalg.ts'
import * as logistic from './logistic.ts'
import * as loss from './loss.ts'
import * as nn from './nn.ts'
import * as noise from './noise.ts'
import * as optim from './optim.ts'
import * as quant from './quant.ts'
import * as rope from './rope.ts'
import * as segments from './segments.ts'

export const ops = {
  ...elementwise,
  ...eight,
  ...linalg,
  ...adapters,
  ...float8,
  ...int8,
  ...nn,
  ...noise,
  ...rope,
  ...attention,
  ...cache,
  ...loss,
  ...logistic,
  ...segments,
  ...classes,
  ...quant,
  ...optim,
} as const

export type OpName = keyof typeof ops

/** The record of an op whose attributes are only known as data; typing has checked them. */
export const opOf = (name: OpName): Op<unknown> => ops[name] as unknown as Op<unknown>
export const opNames = Object.keys(ops) as ReadonlyArray<OpName>
export const isOpName = (name: string): name is OpName => Object.hasOwn(ops, name)
