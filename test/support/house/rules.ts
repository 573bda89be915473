// The rules of the house that look at one file: size, comments, what may not be called. Each gives one sentence per fault.
import type { Node } from 'typescript/unstable/ast'
import { ModifierFlags } from 'typescript/unstable/sync'
import {
  isArrowFunction,
  isCallExpression,
  isClassDeclaration,
  isConstructorDeclaration,
  isExportDeclaration,
  isFunctionDeclaration,
  isFunctionExpression,
  isGetAccessorDeclaration,
  isIdentifier,
  isInterfaceDeclaration,
  isMethodDeclaration,
  isNewExpression,
  isPropertyAccessExpression,
  isSetAccessorDeclaration,
  isTypeAliasDeclaration,
  isVariableStatement,
} from 'typescript/unstable/ast/is'
import { LAYERS } from './layers.ts'
import type { TreeFile } from './tree.ts'
import { lineAt, walk } from './tree.ts'

const LONG_FILE_LINES = 300
const LONGEST_FILE_LINES = 400
const LONGEST_FUNCTION_LINES = 50
const LONGEST_HEADER_LINES = 6

/** Files that may be longer, with the reason. */
export const LONG_FILES: Readonly<Record<string, string>> = {}

/** Files whose exports need no docstring, with the reason. */
const UNDOCUMENTED: Readonly<Record<string, string>> = {
  'model/object.ts': "names, fields and meaning are Kubernetes' own",
  'model/container.ts': "names, fields and meaning are Kubernetes' own",
  'model/istio-security.ts': "names, fields and meaning are Istio's own",
}

/** Calls that only some files may make: what, where, and what to use instead. */
const BANNED: readonly { readonly call: RegExp; readonly allowed: RegExp; readonly instead: string }[] = [
  { call: /^process\.env$/, allowed: /(^|\/)(settings|main)\.ts$|^cli\//, instead: "the process's settings.ts" },
  { call: /^(Date\.now|performance\.now|new Date)$/, allowed: /^kit\/clock\.ts$/, instead: 'a Clock (kit/clock.ts)' },
  { call: /^(globalThis\.)?set(Timeout|Interval)$/, allowed: /^kit\/clock\.ts$/, instead: 'a Clock (kit/clock.ts)' },
  { call: /^Math\.random$/, allowed: /^kit\/backoff\.ts$|(^|\/)(main|app)\.ts$/, instead: 'an injected random function' },
  { call: /^console\.\w+$/, allowed: /^cli\//, instead: 'a Log (kit/log.ts)' },
]

/** Whether a path is part of the product (has a layer). */
export function isProduct(path: string): boolean {
  return LAYERS[path.split('/')[0] ?? ''] !== undefined
}

function isGenerated(path: string): boolean {
  return path.endsWith('_pb.ts') || path.endsWith('vmlinux.h')
}

/** Faults in the size of a file and its functions. */
export function checkSize(file: TreeFile): readonly string[] {
  if (!/\.(ts|mjs|js|c|h)$/.test(file.path) || isGenerated(file.path)) return []
  const lines = file.text.split('\n').length - 1
  const faults: string[] = []
  if (lines > LONGEST_FILE_LINES && LONG_FILES[file.path] === undefined)
    faults.push(`${file.path}: ${lines} lines (at most ${LONGEST_FILE_LINES})`)
  if (file.ast === undefined) return faults
  const ast = file.ast
  walk(ast, (node) => {
    if (!isFunctionLike(node) || isSuite(node)) return
    const length = lineAt(file.text, node.getEnd()) - lineAt(file.text, node.getStart(ast)) + 1
    if (length > LONGEST_FUNCTION_LINES) {
      faults.push(
        `${file.path}:${lineAt(file.text, node.getStart(ast))}: a function of ${length} lines (at most ${LONGEST_FUNCTION_LINES})`,
      )
    }
  })
  return faults
}

/** Files that should be split soon: longer than 300 lines, not yet refused. */
export function warnSize(file: TreeFile): readonly string[] {
  const lines = file.text.split('\n').length - 1
  const isCode = /\.(ts|mjs|js|c)$/.test(file.path) && !isGenerated(file.path)
  return isCode && lines > LONG_FILE_LINES && LONG_FILES[file.path] === undefined
    ? [`${file.path}: ${lines} lines, split it before ${LONGEST_FILE_LINES}`]
    : []
}

/** Faults in the header comment: every code file opens with one to six lines that say what it is. */
export function checkHeader(file: TreeFile): readonly string[] {
  if (!/\.(ts|mjs|js|c|h|proto)$/.test(file.path) || isGenerated(file.path)) return []
  const text = file.text.replace(/^#!.*\n/, '').replace(/^(\/\/|\/\*) SPDX-License-Identifier:.*\n/, '')
  const header = /^(?:(?:\/\/.*\n)+|\/\*[\s\S]*?\*\/)/.exec(text)?.[0]
  if (header === undefined) return [`${file.path}:1: no header comment`]
  const lines = header.trimEnd().split('\n').length
  return lines > LONGEST_HEADER_LINES ? [`${file.path}:1: a header of ${lines} lines (at most ${LONGEST_HEADER_LINES})`] : []
}

/** Faults of exports in product code: no docstring; re-exports and barrels. */
export function checkExports(file: TreeFile): readonly string[] {
  const { ast, path, text } = file
  if (ast === undefined || !(isProduct(path) || path.startsWith('test/support/')) || isGenerated(path)) return []
  const faults: string[] = []
  let documentedUntil = -1 // end of the last documented export: constants right below it share its docstring
  for (const statement of ast.statements) {
    const start = statement.getStart(ast)
    if (isExportDeclaration(statement)) {
      faults.push(`${path}:${lineAt(text, start)}: re-export; import the file that owns the name`)
      continue
    }
    if (!isExported(statement)) continue
    const hasDoc = (statement.jsDoc?.length ?? 0) > 0 || UNDOCUMENTED[path] !== undefined
    const isAdjacent =
      isVariableStatement(statement) &&
      documentedUntil !== -1 &&
      text.slice(documentedUntil, start).trim() === '' &&
      !text.slice(documentedUntil, start).includes('\n\n')
    if (!hasDoc && !isAdjacent) faults.push(`${path}:${lineAt(text, start)}: export without a docstring`)
    else documentedUntil = statement.getEnd()
  }
  return faults
}

/** Time, randomness, environment and output in files that must be given them. */
export function checkCalls(file: TreeFile): readonly string[] {
  const { ast, path, text } = file
  if (ast === undefined || !isProduct(path)) return []
  const faults: string[] = []
  const judge = (node: Node, name: string): void => {
    const row = BANNED.find((banned) => banned.call.test(name) && !banned.allowed.test(path))
    if (row !== undefined) faults.push(`${path}:${lineAt(text, node.getStart(ast))}: ${name}; use ${row.instead}`)
  }
  walk(ast, (node) => {
    if (isPropertyAccessExpression(node)) judge(node, node.getText(ast))
    else if (isCallExpression(node) && isIdentifier(node.expression)) judge(node, node.expression.text)
    else if (isNewExpression(node) && isIdentifier(node.expression) && (node.arguments?.length ?? 0) === 0)
      judge(node, `new ${node.expression.text}`)
  })
  if (path !== 'kit/clock.ts') {
    for (const { index } of text.matchAll(/from 'node:timers/g))
      faults.push(`${path}:${lineAt(text, index)}: node:timers; use a Clock (kit/clock.ts)`)
  }
  return faults
}

/** Words that do not stay on main. */
export function checkWords(file: TreeFile): readonly string[] {
  if (
    file.path.startsWith('test/support/house/') ||
    file.path === 'test/unit/house.test.ts' ||
    file.path.endsWith('.json') ||
    isGenerated(file.path)
  )
    return []
  if (file.path.endsWith('.md')) return []
  return [...file.text.matchAll(/\b(TODO|FIXME|XXX|HACK)\b/g)].map((match) => `${file.path}:${lineAt(file.text, match.index)}: ${match[0]}`)
}

/** Names of files: kebab-case, no folder for leftovers. */
export function checkName(file: TreeFile): readonly string[] {
  const faults: string[] = []
  if (/\.(ts|mjs|js)$/.test(file.path) && !/(^|\/)[a-z0-9]+(-[a-z0-9]+)*(_pb)?(\.[a-z0-9-]+)*\.(ts|mjs|js)$/.test(file.path))
    faults.push(`${file.path}: not kebab-case`)
  if (/(^|\/)(utils?|common|helpers?|types|misc)(\/|\.ts$)/.test(file.path))
    faults.push(`${file.path}: a folder or file is named by its concept`)
  if (/(^|\/)index\.ts$/.test(file.path)) faults.push(`${file.path}: a barrel`)
  return faults
}

function isFunctionLike(node: Node): boolean {
  return (
    isFunctionDeclaration(node) ||
    isMethodDeclaration(node) ||
    isArrowFunction(node) ||
    isFunctionExpression(node) ||
    isConstructorDeclaration(node) ||
    isGetAccessorDeclaration(node) ||
    isSetAccessorDeclaration(node)
  )
}

/** The callback of `describe` is a list of tests, not a function in the sense of the rule. */
function isSuite(node: Node): boolean {
  const call = node.parent
  return isCallExpression(call) && /^describe(\.\w+)?$|^suite$/.test(call.expression.getText())
}

function isExported(node: Node): boolean {
  const isDeclaration =
    isFunctionDeclaration(node) ||
    isClassDeclaration(node) ||
    isVariableStatement(node) ||
    isInterfaceDeclaration(node) ||
    isTypeAliasDeclaration(node)
  return isDeclaration && (node.modifierFlags & ModifierFlags.Export) !== 0
}
