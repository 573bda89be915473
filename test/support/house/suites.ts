// The rules of the house for tests: tables without twins, titles without twins, names that mirror a source file.
import type { Expression, Node, SourceFile } from 'typescript/unstable/ast'
import {
  isArrayLiteralExpression,
  isAsExpression,
  isCallExpression,
  isForOfStatement,
  isIdentifier,
  isObjectLiteralExpression,
  isParenthesizedExpression,
  isPropertyAssignment,
  isSatisfiesExpression,
  isStringLiteral,
  isVariableDeclaration,
} from 'typescript/unstable/ast/is'
import type { TreeFile } from './tree.ts'
import { lineAt, walk } from './tree.ts'

/** Unit tests that mirror no single source file, with what they test. */
const MIRROR_NOTHING: Readonly<Record<string, string>> = {
  'test/unit/house.test.ts': 'the whole checkout',
  'test/unit/layers.test.ts': 'the whole checkout',
}

/** Rows that stand twice in a table over which a test loops, and literal titles that stand twice in a suite. */
export function checkTwins(file: TreeFile): readonly string[] {
  const { ast, path } = file
  if (ast === undefined || !path.startsWith('test/') || !path.endsWith('.test.ts')) return []
  const faults: string[] = []
  walk(ast, (node) => {
    if (!isForOfStatement(node)) return
    const body = node.statement.getText(ast)
    if (!/\bit(\.only)?\(/.test(body)) return
    const isNameInput = (body.match(/\bname\b/g)?.length ?? 0) > 1 // more than a title: then only whole rows are twins
    faults.push(...twinRows(file, ast, tableOf(ast, node.expression), isNameInput))
  })
  return [...faults, ...twinTitles(file, ast)]
}

/**
 * A unit test stands where its source file stands: `test/unit/hbone/frame.test.ts` for `hbone/frame.ts`. Further words
 * may follow (`frame-limits.test.ts`, `frame.property.test.ts`); a folder's name stands for the folder.
 */
export function checkMirror(paths: ReadonlySet<string>, path: string): readonly string[] {
  const match = /^test\/unit\/(.+)\.test\.ts$/.exec(path)
  if (match?.[1] === undefined || MIRROR_NOTHING[path] !== undefined) return []
  const folders = new Set([...paths].flatMap((known) => parents(known)))
  for (let stem = match[1]; stem !== ''; stem = shorten(stem)) {
    if (['.ts', '.mjs', '.c', '.bpf.c', '.proto'].some((ending) => paths.has(stem + ending)) || folders.has(stem)) return []
  }
  return [`${path}: mirrors no source file (${match[1]}.ts does not exist)`]
}

function parents(path: string): string[] {
  const parts = path.split('/').slice(0, -1)
  return parts.map((_, index) => parts.slice(0, index + 1).join('/'))
}

/** `hbone/frame-limits.property` -> `hbone/frame-limits` -> `hbone/frame` -> `` */
function shorten(stem: string): string {
  const cut = Math.max(stem.lastIndexOf('-'), stem.lastIndexOf('.'))
  return cut > stem.lastIndexOf('/') ? stem.slice(0, cut) : ''
}

/** The array literal that a loop runs over: written there, or a constant of the file. */
function tableOf(ast: SourceFile, expression: Expression): Expression | undefined {
  if (isAsExpression(expression) || isSatisfiesExpression(expression) || isParenthesizedExpression(expression))
    return tableOf(ast, expression.expression)
  if (!isIdentifier(expression)) return expression
  let found: Expression | undefined
  walk(ast, (node) => {
    if (isVariableDeclaration(node) && isIdentifier(node.name) && node.name.text === expression.text) found = node.initializer
  })
  return found === undefined || isIdentifier(found) ? undefined : tableOf(ast, found)
}

function twinRows(file: TreeFile, ast: SourceFile, table: Expression | undefined, isNameInput: boolean): string[] {
  if (table === undefined || !isArrayLiteralExpression(table)) return []
  const seen = new Map<string, number>()
  const faults: string[] = []
  for (const row of table.elements) {
    const line = lineAt(file.text, row.getStart(ast))
    for (const key of isNameInput ? [squeeze(row.getText(ast))] : keysOf(row, ast)) {
      const first = seen.get(key)
      if (first !== undefined) faults.push(`${file.path}:${line}: the row of line ${first} again`)
      else seen.set(key, line)
    }
  }
  return [...new Set(faults)]
}

function squeeze(text: string): string {
  return text.replace(/\s+/g, ' ')
}

/** A row is the same as another when its name is, or when all the rest is. */
function keysOf(row: Node, ast: SourceFile): string[] {
  if (!isObjectLiteralExpression(row)) return [squeeze(row.getText(ast))]
  const fields = row.properties.map((property) => ({
    isName: isPropertyAssignment(property) && property.name.getText(ast) === 'name' && isStringLiteral(property.initializer),
    text: squeeze(property.getText(ast)),
  }))
  const rest = fields.filter((field) => !field.isName).map((field) => field.text)
  const name = fields.find((field) => field.isName)?.text
  return [...(name === undefined ? [] : [`name of ${name}`]), ...(rest.length === 0 ? [] : [rest.sort().join(', ')])]
}

function twinTitles(file: TreeFile, ast: SourceFile): string[] {
  const seen = new Set<string>()
  const faults: string[] = []
  const look = (node: Node, suite: string): void => {
    node.forEachChild((child) => {
      let inside = suite
      if (isCallExpression(child)) {
        const title = child.arguments[0]
        const called = child.expression.getText(ast)
        if (title !== undefined && isStringLiteral(title)) {
          if (called === 'describe') inside = `${suite} › ${title.text}`
          if (called === 'it') {
            const full = `${suite} › ${title.text}`
            if (seen.has(full))
              faults.push(
                `${file.path}:${lineAt(file.text, child.getStart(ast))}: a second test of the title ${JSON.stringify(title.text)}`,
              )
            seen.add(full)
          }
        }
      }
      look(child, inside)
    })
  }
  look(ast, '')
  return faults
}
