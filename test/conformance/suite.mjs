// Runs tests of http-cache-tests, or lists them:
//
//   node suite.mjs list DIR
//   node suite.mjs run DIR BASE [ID...]
//
// DIR is the suite, of either edition; BASE is the cache in front of the suite's origin. It does what the
// suite's own cli.mjs does, which can run all tests or one; this one runs any. Results go to stdout as
// JSON, what the suite says meanwhile to stderr.
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'

console.log = console.error

const [what, folder, base, ...ids] = process.argv.slice(2)
const dir = resolve(folder)
const newer = existsSync(join(dir, 'test-engine'))
const load = async path => await import(pathToFileURL(join(dir, path)))

const suites = (await load('tests/index.mjs')).default
if (!newer) suites.push((await load('tests/surrogate-control.mjs')).default) // as cli.mjs does

function catalogue () {
  return suites.map(suite => ({
    id: suite.id,
    tests: suite.tests
      .filter(test => !test.browser_only)
      .map(test => ({ id: test.id, kind: test.kind ?? 'required', depends_on: test.depends_on ?? [] }))
  }))
}

async function run () {
  const { runTests, getResults } = await load(join(newer ? 'test-engine' : '', 'client/runner.mjs'))
  const chosen = suites.map(suite => ({
    ...suite, tests: suite.tests.filter(test => ids.length === 0 || ids.includes(test.id))
  }))
  if (newer) {
    await runTests(chosen, false, base)
  } else {
    const fetch = await import(pathToFileURL(createRequire(join(dir, 'cli.mjs')).resolve('node-fetch')))
    await runTests(chosen, fetch.default.default ?? fetch.default, false, base)
  }
  return getResults()
}

const answer = what === 'list' ? catalogue() : await run()
process.stdout.write(JSON.stringify(answer), () => process.exit(0))
