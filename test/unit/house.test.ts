// The rules of the house on the whole checkout, so that reviews need not look for them; each rule is also shown to catch
// a planted fault. All faults are reported together.
import assert from 'node:assert/strict'
import { checkNames, checkPages, checkProse } from '../support/house/pages.ts'
import { checkCalls, checkExports, checkHeader, checkName, checkSize, checkWords, LONG_FILES, warnSize } from '../support/house/rules.ts'
import { checkMirror, checkTwins } from '../support/house/suites.ts'
import { parseTexts, readTree, type TreeFile } from '../support/house/tree.ts'

type Rule = (file: TreeFile) => readonly string[]

const HEADER = '// what it is\n'
const PLANTED: readonly { readonly rule: Rule; readonly path: string; readonly text: string; readonly faults: number }[] = [
  { rule: checkSize, path: 'kit/long.ts', text: `${HEADER}${'// x\n'.repeat(400)}`, faults: 1 },
  { rule: checkSize, path: 'kit/short.ts', text: `${HEADER}${'// x\n'.repeat(398)}`, faults: 0 },
  { rule: checkSize, path: 'kit/function.ts', text: `${HEADER}export function f(): void {\n${'  f()\n'.repeat(49)}}\n`, faults: 1 },
  {
    rule: checkSize,
    path: 'kit/method.ts',
    text: `${HEADER}class A {\n  #x = (): void => {\n${'  this.#x()\n'.repeat(49)}}\n}\n`,
    faults: 1,
  },
  { rule: checkSize, path: 'kit/fifty.ts', text: `${HEADER}export function f(): void {\n${'  f()\n'.repeat(48)}}\n`, faults: 0 },
  { rule: checkSize, path: 'test/unit/a.test.ts', text: `${HEADER}describe('a', () => {\n${'  it()\n'.repeat(80)}})\n`, faults: 0 },
  { rule: checkHeader, path: 'kit/none.ts', text: "import x from 'x'\n", faults: 1 },
  { rule: checkHeader, path: 'kit/novel.ts', text: '// x\n'.repeat(7), faults: 1 },
  { rule: checkHeader, path: 'bpf/src/a.bpf.c', text: '// SPDX-License-Identifier: BSD\n#include <x>\n', faults: 1 },
  { rule: checkHeader, path: 'bpf/src/b.bpf.c', text: '/* SPDX-License-Identifier: BSD */\n/* what it is */\n', faults: 0 },
  {
    rule: checkExports,
    path: 'kit/bare.ts',
    text: `${HEADER}export function f(): void {}\nexport interface I {}\nexport type T = 1\nexport class C {}\n`,
    faults: 4,
  },
  {
    rule: checkExports,
    path: 'kit/group.ts',
    text: `${HEADER}/** Families. */\nexport const A = 1\nexport const B = 2\n\nexport const C = 3\n`,
    faults: 1,
  },
  { rule: checkExports, path: 'kit/barrel.ts', text: `${HEADER}export * from './bare.ts'\nexport { f } from './bare.ts'\n`, faults: 2 },
  { rule: checkExports, path: 'kit/inner.ts', text: `${HEADER}function f(): void {}\n`, faults: 0 },
  { rule: checkCalls, path: 'hbone/time.ts', text: `${HEADER}const t = Date.now() + performance.now() + Number(new Date())\n`, faults: 3 },
  {
    rule: checkCalls,
    path: 'hbone/timer.ts',
    text: `${HEADER}import { setTimeout as wait } from 'node:timers/promises'\nsetTimeout(f, 1)\nsetInterval(f, 1)\n`,
    faults: 3,
  },
  {
    rule: checkCalls,
    path: 'policy/luck.ts',
    text: `${HEADER}const a = Math.random\nconst b = process.env.HOME\nconsole.log(a, b)\n`,
    faults: 3,
  },
  { rule: checkCalls, path: 'kit/clock.ts', text: `${HEADER}const t = Date.now()\nsetTimeout(f, 1)\n`, faults: 0 },
  { rule: checkCalls, path: 'ztunnel/settings.ts', text: `${HEADER}const env = process.env\nconst at = new Date(0)\n`, faults: 0 },
  { rule: checkWords, path: 'kit/later.ts', text: `${HEADER}// ${'TO'}DO: later\n`, faults: 1 },
  { rule: checkName, path: 'kit/CamelCase.ts', text: HEADER, faults: 1 },
  { rule: checkName, path: 'kit/utils.ts', text: HEADER, faults: 1 },
  { rule: checkName, path: 'hbone/index.ts', text: HEADER, faults: 1 },
  {
    rule: checkTwins,
    path: 'test/unit/rows.test.ts',
    text: `${HEADER}for (const row of [{ name: 'a', want: 1 }, { name: 'b', want: 1 }]) it(row.name, f)\n`,
    faults: 1,
  },
  {
    rule: checkTwins,
    path: 'test/unit/inputs.test.ts',
    text: `${HEADER}for (const row of [{ name: 'a', want: 1 }, { name: 'b', want: 1 }]) it(row.name, () => f(row.name))\n`,
    faults: 0,
  },
  {
    rule: checkTwins,
    path: 'test/unit/names.test.ts',
    text: `${HEADER}const T = [{ name: 'a', want: 1 }, { name: 'a', want: 2 }] as const\nfor (const row of T) it(row.name, f)\n`,
    faults: 1,
  },
  { rule: checkTwins, path: 'test/unit/data.test.ts', text: `${HEADER}for (const byte of [1, 1]) push(byte)\n`, faults: 0 },
  {
    rule: checkTwins,
    path: 'test/unit/titles.test.ts',
    text: `${HEADER}describe('x', () => { it('a', f); it('a', f) })\ndescribe('y', () => { it('a', f) })\n`,
    faults: 1,
  },
]

describe('house', function () {
  this.timeout('60s') // the compiler's parser reads the whole checkout

  describe('rules', () => {
    let files: readonly TreeFile[]
    before(() => {
      files = parseTexts(Object.fromEntries(PLANTED.map((row) => [row.path, row.text])))
    })
    for (const [index, row] of PLANTED.entries()) {
      it(`${row.rule.name} finds ${row.faults} in ${row.path}`, () => {
        const found = row.rule(files[index] as TreeFile)
        assert.equal(found.length, row.faults, found.join('\n'))
      })
    }

    it('checkMirror wants a source file beside every unit test', () => {
      const paths = new Set(['hbone/frame.ts', 'xds/resource/address.ts'])
      const faultsOf = (path: string): number => checkMirror(paths, path).length
      assert.equal(faultsOf('test/unit/hbone/frame.test.ts'), 0)
      assert.equal(faultsOf('test/unit/hbone/frame-limits.property.test.ts'), 0)
      assert.equal(faultsOf('test/unit/xds/resource.test.ts'), 0)
      assert.equal(faultsOf('test/unit/hbone/fram.test.ts'), 1)
      assert.equal(faultsOf('test/unit/frame.test.ts'), 1)
    })
  })

  it('holds everywhere', async () => {
    const files = readTree()
    const paths = new Set(files.map((file) => file.path))
    const rules: readonly Rule[] = [checkSize, checkHeader, checkExports, checkCalls, checkWords, checkName, checkTwins]
    const faults = new Set([
      ...files.flatMap((file) => rules.flatMap((rule) => rule(file))),
      ...files.flatMap((file) => checkMirror(paths, file.path)),
      ...files
        .filter((file) => file.path.endsWith('.ts') && file.ast === undefined)
        .map((file) => `${file.path}: not in tsconfig.json's project`),
      ...Object.keys(LONG_FILES)
        .filter((path) => !paths.has(path))
        .map((path) => `${path}: excused for its length, but gone`),
      ...(await checkNames(files)),
      ...(await checkPages(files)),
      ...(await checkProse(files)),
    ])
    for (const warning of files.flatMap(warnSize)) console.log(`      note: ${warning}`)
    assert.equal(faults.size, 0, `${faults.size} faults\n${[...faults].sort().join('\n')}\n`)
  })
})
