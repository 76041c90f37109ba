// What `polybus export asyncapi` prints is valid for AsyncAPI's own parser.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import test from 'node:test';
import { Parser } from '@asyncapi/parser';

const ROOT = new URL('../../../', import.meta.url).pathname;
const ERROR = 0;

function exported(topology, ...more) {
  const words = ['-m', 'polybus.cli.main', 'export', 'asyncapi', `${ROOT}${topology}`, ...more];
  return execFileSync(process.env.POLYBUS_PYTHON ?? 'python3', words, { encoding: 'utf8' });
}

for (const [topology, ...more] of [
  ['stacks/polybus.toml'],
  ['stacks/polybus.toml', '--service', 'billing'],
  ['examples/training_pipeline/polybus.toml'],
]) {
  test(`${topology} ${more.join(' ')}`, async () => {
    const { document, diagnostics } = await new Parser().parse(exported(topology, ...more));
    assert.deepEqual(diagnostics.filter((each) => each.severity === ERROR), []);
    assert.ok(document.operations().all().length > 0);
  });
}
