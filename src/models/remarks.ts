/** What a config.json says twice, or says to no effect: transformers chooses, and so do we, but not in silence. */
import { isJson, originalContextOf, ropeDictionary, thetaOf, type Json } from './rope.ts'

const shown = (v: unknown): string => JSON.stringify(v)

const isSet = (v: unknown): boolean => v !== undefined && v !== null

/** Of two places that differ, the one that counts. */
const twice = (
  what: string,
  [winner, value]: readonly [string, unknown],
  [loser, other]: readonly [string, unknown],
  older: string,
): ReadonlyArray<string> =>
  isSet(other) && value !== other
    ? [
        `config.json gives ${what} twice: ${winner} ${shown(value)} is used, ${loser} ${shown(other)} is not, as in transformers 5${older}`,
      ]
    : []

const dictionaries = (config: Json): ReadonlyArray<string> => {
  const { at } = ropeDictionary(config)
  const parameters = config['rope_parameters']
  return at === 'rope_scaling' && isJson(parameters)
    ? [
        'config.json has both rope_scaling and rope_parameters: rope_scaling is used, as in transformers',
        ...(isSet(parameters['rope_theta']) && parameters['rope_theta'] !== thetaOf(config)
          ? [
              `the rope_theta ${shown(parameters['rope_theta'])} of rope_parameters goes with it: ${shown(thetaOf(config))} is used`,
            ]
          : []),
      ]
    : []
}

const rope = (config: Json): ReadonlyArray<string> => {
  const { at, values } = ropeDictionary(config)
  const kind = values['rope_type'] ?? values['type']
  return [
    ...dictionaries(config),
    ...('rope_theta' in values
      ? twice(
          'rope_theta',
          [`${at}.rope_theta`, values['rope_theta']],
          ['rope_theta', config['rope_theta']],
          '; transformers 4 takes the other',
        )
      : []),
    ...('rope_type' in values
      ? twice(
          'the type of RoPE scaling',
          ['rope_type', kind],
          ['type', values['type']],
          '; transformers 4 takes the other',
        )
      : []),
    ...(kind === 'default' && isSet(values['factor'])
      ? [
          `${at} of config.json has the type "default": its factor ${shown(values['factor'])} has no effect`,
        ]
      : []),
    ...(kind === 'llama3'
      ? twice(
          'original_max_position_embeddings',
          ['the top level', originalContextOf(config, 0)],
          [at, values['original_max_position_embeddings']],
          '; transformers 4 takes the other',
        )
      : []),
  ]
}

const DROPOUT = 'attention_dropout'

/** Keys of this architecture's code that this model does not follow, and keys that another architecture reads. */
const idle = (config: Json): ReadonlyArray<string> => {
  const family = config['model_type']
  const has = (key: string): boolean => isSet(config[key]) && config[key] !== false
  const without = (key: string): string =>
    `\`${key}\` of config.json has no effect: the ${String(family)} model of transformers does not read it`
  const architecture: unknown = Array.isArray(config['architectures'])
    ? config['architectures'][0]
    : undefined
  return [
    ...(typeof config[DROPOUT] === 'number' && config[DROPOUT] > 0
      ? [
          `config.json asks for ${DROPOUT} ${config[DROPOUT]} in training: it is not applied here (adapter.dropout is)`,
        ]
      : []),
    ...(family === 'llama' ? [] : ['attention_bias', 'mlp_bias'].filter(has).map(without)),
    ...(family === 'llama'
      ? ['sliding_window', 'use_sliding_window'].filter(has).map(without)
      : []),
    ...(family === 'mistral' &&
    config['use_sliding_window'] === false &&
    isSet(config['sliding_window'])
      ? [without('use_sliding_window')]
      : []),
    ...(typeof architecture === 'string' &&
    architecture.toLowerCase() !== `${String(family)}forcausallm`
      ? [
          `config.json names the architecture ${architecture}; its model_type "${String(family)}" decides, as in AutoModelForCausalLM`,
        ]
      : []),
  ]
}

/** For a config.json that `readSpec` accepts. */
export const configRemarks = (config: unknown): ReadonlyArray<string> =>
  isJson(config) ? [...rope(config), ...idle(config)] : []
