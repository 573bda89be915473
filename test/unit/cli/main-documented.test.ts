// Every `./weft` command that a page shows: its verb, options and arguments are known, and the files of this checkout that it
// names exist. What the commands do is shown by the kernel tests.
import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { makeProgram } from '../../../cli/main.ts'

const ROOT = join(import.meta.dirname, '..', '..', '..')
const PAGES = [
  'README.md',
  'samples/shop/README.md',
  ...readdirSync(join(ROOT, 'docs'))
    .filter((file) => file.endsWith('.md'))
    .map((file) => `docs/${file}`),
]
/** Words that a reader replaces. */
const PLACEHOLDERS = /^[A-Z/=:-]+$/

/** Commands in code blocks and in the text, as lists of words; comments and what follows a pipe are left out. */
function commandsOf(page: string): string[][] {
  const text = readFileSync(join(ROOT, page), 'utf8')
  const shown = [...text.matchAll(/^```sh\n([\s\S]*?)^```/gm)].flatMap((match) => (match[1] ?? '').split('\n'))
  const inline = [...text.replaceAll(/^```[\s\S]*?^```/gm, '').matchAll(/`(\.\/weft [^`]+)`/g)].map((match) => match[1] ?? '')
  return [...shown, ...inline]
    .filter((line) => line.startsWith('./weft '))
    .map((line) => (line.split(/ #| \| /)[0] ?? '').trim().split(/\s+/).slice(1))
}

describe('documented commands', () => {
  const before = process.cwd()
  beforeEach(() => process.chdir(ROOT))
  afterEach(() => process.chdir(before))

  const found = new Map(PAGES.map((page) => [page, commandsOf(page)]))
  for (const [page, commands] of found) {
    if (commands.length === 0) continue
    it(`${page}: ${commands.length} commands can be typed as they stand`, async () => {
      for (const words of commands) {
        const program = makeProgram()
        const commands = program.commands.flatMap((one) => (one.commands.length > 0 ? [...one.commands] : [one]))
        for (const command of [program, ...commands]) command.configureOutput({ writeErr: () => undefined })
        for (const command of commands) command.action(() => undefined)
        const line = `weft ${words.join(' ')}`
        const typed = words.map((word) => (PLACEHOLDERS.test(word.split('=')[1] ?? '') ? word.replace(/=.*/, '=.') : word))
        await assert.doesNotReject(program.parseAsync(typed, { from: 'user' }), line)
        for (const path of words.filter((word) => word.startsWith('samples/')))
          assert.ok(existsSync(join(ROOT, path)), `${line}: ${path} does not exist`)
      }
    })
  }

  it('are read at all', () => assert.ok([...found.values()].flat().length > 30))
})
