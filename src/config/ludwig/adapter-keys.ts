/** What else Ludwig knows inside `adapter`, `quantization` and `model_parameters`. */
import { keysOfType, no, type Known } from './known.ts'

const lora: Known = {
  eva_config: no('leave it out: A starts random, B zero', null),
  loftq_config: no('leave it out: A starts random, B zero', null),
  layer_replication: no('leave it out: the base keeps its layers', null),
}

const ia3: Known = {
  fan_in_fan_out: no('leave it out: weights of these models lie as they are multiplied', false),
  init_ia3_weights: no('leave it out: vectors start at 1, where they change nothing', true),
}

const otherTypes: Known = {
  ...keysOfType(
    'adalora',
    'target_r init_r tinit tfinal delta_t beta1 beta2 orth_reg_weight total_step',
  ),
  ...keysOfType('vera', 'projection_prng_key'),
  ...keysOfType('fourierft waveft', 'n_frequency scaling'),
  ...keysOfType('waveft', 'wavelet_family'),
  ...keysOfType('boft', 'boft_block_size boft_n_butterfly_factor boft_dropout'),
  ...keysOfType('tinylora', 'u weight_tying projection_seed save_projection tinylora_dropout'),
  ...keysOfType('c3a', 'block_size'),
  ...keysOfType('oft', 'oft_block_size module_dropout coft eps'),
  ...keysOfType('adaption_prompt', 'adapter_len adapter_layers'),
  ...keysOfType('hra', 'apply_GS'),
  ...keysOfType('vblora', 'num_vectors vector_length topk vblora_dropout save_only_topk_weights'),
}

const postprocessor: Known = {
  progressbar: no('leave it out: merging a model takes seconds and shows no bar', false),
}

export const adapterKeys: Known = {
  ...otherTypes,
  ...lora,
  ...ia3,
  postprocessor: { section: postprocessor },
}

export const quantizationKeys: Known = {
  llm_int8_has_fp16_weight: no(
    'leave it out: quantized weights are frozen, so none is kept in 16 bits',
    false,
  ),
  backend: no('leave it out: tunec has its own 4-bit kernels', 'bitsandbytes'),
  mode: no('leave it out: it belongs to torchao', null),
  qat: no('leave it out: it belongs to torchao', false),
}

export const modelParameterKeys: Known = {
  rope_scaling: { section: { type: no('write it as `rope_type`') } },
}
