/** Compiled plans inside TensorFlow, without a GPU: the arena is a tensor of the plugin's device, each function an op that launches its graph. */
import { test } from 'node:test'
import { conformanceSuite } from './conformance.ts'
import { noPlugin, onHostMemory } from './tfjs-plugin.ts'

if (noPlugin === false) conformanceSuite(onHostMemory)
else test('conformance of the tfjs plugin', { skip: noPlugin }, () => {})
