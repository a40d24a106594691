#!/usr/bin/env bash
# Puts NVRTC into .cuda/ out of its pip wheel, so that the tests compile every CUDA kernel on a machine without a GPU.
# A machine that cannot have it fails nothing: the tests then say that NVRTC is absent.
set -euo pipefail
cd "$(dirname "$0")/.."

version=13.0.88 # the oldest of CUDA 13: its PTX is understood by every driver of CUDA 13
lib=.cuda/nvidia/cu13/lib/libnvrtc.so.13

absent() { echo "NVRTC is absent: $1; CUDA kernels are not compiled in the tests"; exit 0; }

[ -e ".cuda/nvidia_cuda_nvrtc-$version.dist-info/RECORD" ] && [ -e "$lib" ] && { echo "NVRTC $version: $lib"; exit 0; }
[ "$(uname -s)" = Linux ] || absent "its wheel is fetched on Linux only"
python3 -m pip --version >/dev/null 2>&1 || absent "there is no python3 with pip to fetch nvidia-cuda-nvrtc==$version"

mkdir -p .cuda
fresh=$(mktemp -d .cuda/fresh.XXXXXX)
trap 'rm -rf "$fresh"' EXIT
python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --no-deps \
  --target "$fresh" "nvidia-cuda-nvrtc==$version" || absent "pip could not fetch nvidia-cuda-nvrtc==$version"
[ -e "$fresh/${lib#.cuda/}" ] || absent "the wheel of nvidia-cuda-nvrtc==$version does not hold ${lib#.cuda/}"
# Other wheels may lie beside it, so only NVRTC is replaced; its record comes last, as it says that all is there.
rm -rf .cuda/nvidia_cuda_nvrtc-*.dist-info .cuda/nvidia/cu13/lib/libnvrtc*
cp -R "$fresh/nvidia" .cuda/ && cp -R "$fresh"/nvidia_cuda_nvrtc-*.dist-info .cuda/
echo "NVRTC $version: $lib"
