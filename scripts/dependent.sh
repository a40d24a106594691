#!/usr/bin/env bash
# Packs tunec, installs the package in a project that depends on it, and uses it there as its users do.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
project=$(mktemp -d)
trap 'rm -rf "$project"' EXIT

npm pack --silent --pack-destination "$project" >/dev/null
cd "$project"
echo '{ "name": "project", "version": "1.0.0", "private": true, "type": "module" }' >package.json
npm install --no-audit --no-fund ./tunec-*.tgz
npx --no-install tunec check "$root/examples/code-instructions/qlora.yaml" >/dev/null
npx --no-install tunec compile "$root/examples/llama-2-7b/llama2_7b_4bit.yaml" --dump-kernels kernels >/dev/null
ls kernels/micro.launches kernels/nf4-*.cu >/dev/null
cat >use.mjs <<'JS'
import { dsl } from 'tunec'
const plan = dsl.compile(process.argv[2])
if (plan._tag !== 'Right') throw new Error('the package does not compile the bundled job')
// Without tfjs-node-gpu it is there to import, and says what is missing when it is used.
const { load } = await import('tunec/tfjs')
let why = ''
try { load() } catch (e) { why = e.message }
if (!why.includes('is not set up')) throw new Error(`tunec/tfjs says: ${why}`)
JS
node use.mjs "$root/examples/code-instructions/qlora.yaml"
echo "the package works in a project that depends on it"
