// The cases of docs/capture.md as tests: `row(id, run)` takes its title from the page and fails for an unknown id.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

const ROOT = join(import.meta.dirname, '..', '..')

/** Case id -> the row's other cells, joined. */
export const CASES: ReadonlyMap<string, string> = new Map(
  readFileSync(join(ROOT, 'docs/capture.md'), 'utf8')
    .split('\n')
    .flatMap((line) => {
      const cells = /^\| `([a-z0-9-]+)` \|(.*)\|$/.exec(line)
      return cells === null
        ? []
        : ([
            [
              cells[1] ?? '',
              (cells[2] ?? '')
                .split('|')
                .map((cell) => cell.trim())
                .join(' · '),
            ],
          ] as [string, string][])
    }),
)

/** One test per row. */
export function row(id: string, run: () => unknown): void {
  const text = CASES.get(id)
  if (text === undefined) throw new Error(`docs/capture.md has no row ${id}`)
  it(`${id}: ${text}`, async () => {
    await run()
  })
}

/** Ids that some test/netns/{capture,cni}-*.test.ts or test/kubernetes/cni*.test.ts names in a call of row(). */
export function testedCases(): string[] {
  const files = ['test/netns', 'test/kubernetes'].flatMap((folder) =>
    readdirSync(join(ROOT, folder)).map((name) => join(ROOT, folder, name)),
  )
  const named = files.filter((path) => /\/(netns\/(capture|cni)-|kubernetes\/cni)[^/]*\.test\.ts$/.test(path))
  return named.flatMap((path) => [...readFileSync(path, 'utf8').matchAll(/\brow\(\s*'([a-z0-9-]+)'/g)].map((match) => match[1] ?? ''))
}
