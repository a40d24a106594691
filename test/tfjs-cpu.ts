/** Imported first: hides GPUs from this process, so that TensorFlow runs on the CPU wherever the test does. */
process.env['CUDA_VISIBLE_DEVICES'] = '-1'
